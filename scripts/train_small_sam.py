"""Train the small promptable model that ships with cellsieve, on simulated nuclei only."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cellsieve.cli import parser, run

log = logging.getLogger("train_small_sam")
EVERY = 250  # steps between rows of the curve


def main(argv: Sequence[str] | None = None) -> None:
    """Train, or go on from a checkpoint; write weights, curve and record."""
    options = parser(__doc__)
    options.add_argument("--steps", type=int, default=6000)
    options.add_argument("--scenes", type=int, default=4000, help="simulated scenes to draw from")
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--threads", type=int, default=2)
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
    if Path(args.checkpoint).exists():
        state = torch.load(args.checkpoint, weights_only=True)
        rows = state.pop("rows")
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
            torch.save({**trainer.state(), "rows": rows}, part)
        write_curve(rows, args.curve, args.picture)
    with atomic(args.weights) as part:
        save_file({name: v.contiguous() for name, v in trainer.average.items()}, part)
    write_json(args.record, _record(args, rows, file_sha256(args.weights)))


def _record(args: Any, rows: Sequence[Sequence[float]], sha256: str) -> dict[str, Any]:
    from cellsieve.provenance import code, versions

    return {
        "weights_sha256": sha256,
        "data": "simulated scenes (cellsieve.simulation.varied); no real image, no label",
        "scenes": args.scenes,
        "steps": args.steps,
        "seed": args.seed,
        "threads": args.threads,
        "validation_iou": rows[-1][-1],
        "code": code("train_small_sam"),
        "versions": versions(),
    }


if __name__ == "__main__":
    run(main)
