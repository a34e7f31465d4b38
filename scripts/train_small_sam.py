"""Train the small promptable model that ships with cellsieve, on simulated nuclei only."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cellsieve.cli import parser, positive, run
from cellsieve.errors import UserError

log = logging.getLogger("train_small_sam")
EVERY = 250  # steps between rows of the curve


def main(argv: Sequence[str] | None = None) -> None:
    """Train, or go on from a checkpoint; write weights, curve and record."""
    options = parser(__doc__)
    options.add_argument("--steps", type=positive, default=6000)
    options.add_argument(
        "--scenes", type=positive, default=4000, help="simulated scenes to draw from"
    )
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--threads", type=positive, default=2)
    options.add_argument("--checkpoint", required=True, help="is gone on from if it exists (.pt)")
    options.add_argument("--weights", required=True, help="output (.safetensors)")
    options.add_argument("--curve", required=True, help="output, a row each 250 steps (.csv)")
    options.add_argument("--picture", required=True, help="output, the curve (.png)")
    options.add_argument("--record", required=True, help="output, where the weights come from")
    args = options.parse_args(argv)

    import torch
    from safetensors.torch import save_file
    from tqdm import tqdm

    from cellsieve.files import atomic, write_json
    from cellsieve.provenance import file_sha256
    from cellsieve.training.curve import write_curve
    from cellsieve.training.examples import draw_scenes
    from cellsieve.training.small_sam import SmallSam, Trainer, draw_batch, validate

    torch.set_num_threads(args.threads)
    scenes = draw_scenes(args.seed, args.scenes, args.threads)
    log.info("%d scenes", len(scenes))
    # other scenes than any of the training
    unseen = draw_scenes(args.seed + 1, 100, args.threads)
    held_out = [draw_batch(unseen, args.seed + 1, i) for i in range(6)]
    trainer = Trainer(scenes, args.seed, args.steps)
    rows: list[list[float]] = []
    origin = {
        "seed": args.seed,
        "steps": args.steps,
        "scenes": args.scenes,
        "threads": args.threads,
    }
    if Path(args.checkpoint).exists():
        state = _read_checkpoint(args.checkpoint, origin)
        rows = state["rows"]
        trainer.resume(state)
        log.info("goes on from step %d", trainer.step)
    network = SmallSam()
    for until in tqdm(range(trainer.step + EVERY, args.steps + EVERY, EVERY), disable=None):
        seen = [numbers[1:] for numbers in trainer.run(min(until, args.steps))]
        network.load_state_dict(trainer.average)
        means = torch.tensor(seen).mean(0).tolist()
        rows.append([trainer.step, *means, validate(network, held_out)])
        log.info("step %d: loss %.4f, IoU %.4f, validation IoU %.4f", *rows[-1])
        with atomic(args.checkpoint) as part:
            torch.save({**trainer.state(), "rows": rows, "origin": origin}, part)
        write_curve(rows, args.curve, args.picture)
    # once more, should the training have been interrupted between the two
    write_curve(rows, args.curve, args.picture)
    with atomic(args.weights) as part:
        save_file({name: v.contiguous() for name, v in trainer.average.items()}, part)
    write_json(args.record, _record(origin, rows, file_sha256(args.weights)))


def _read_checkpoint(path: str, origin: dict[str, int]) -> dict[str, Any]:
    import torch

    try:
        state = torch.load(path, weights_only=True)
    except (RuntimeError, ValueError, KeyError, EOFError) as error:
        raise UserError(f"{path} is damaged; remove it to train from the beginning") from error
    if state["origin"] != origin:
        raise UserError(
            f"{path} is of a training with {state['origin']}, not {origin}; give the same options, "
            "or another checkpoint"
        )
    return state


def _record(origin: dict[str, int], rows: Sequence[Sequence[float]], sha256: str) -> dict[str, Any]:
    from cellsieve.provenance import code, versions

    return {
        "weights_sha256": sha256,
        "data": "simulated scenes (cellsieve.simulation.varied); no real image, no label",
        **origin,
        "validation_iou": rows[-1][-1],
        "code": code("train_small_sam"),
        "versions": versions(),
    }


if __name__ == "__main__":
    run(main)
