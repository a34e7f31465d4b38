"""Train the small promptable model that ships with cellsieve, on simulated nuclei only."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from cellsieve.cli import parser, run
from cellsieve.errors import UserError
from cellsieve.training_options import add_training_options, simulated_record, training_origin

log = logging.getLogger("train_small_sam")
EVERY = 250  # steps between rows of the curve
COLUMNS = ("step", "loss", "iou", "validation_iou")


def main(argv: Sequence[str] | None = None) -> None:
    """Train, or go on from a checkpoint; write weights, curve and record."""
    options = parser(__doc__)
    add_training_options(options, steps=6000)
    args = options.parse_args(argv)

    import torch
    from safetensors.torch import save_file

    from cellsieve.files import atomic, write_json
    from cellsieve.provenance import file_sha256
    from cellsieve.training.course import train
    from cellsieve.training.curve import write_curve
    from cellsieve.training.examples import draw_scenes
    from cellsieve.training.small_sam import SmallSam, draw_batch, make_trainer, validate

    torch.set_num_threads(args.threads)
    scenes = draw_scenes(args.seed, args.scenes, args.threads)
    log.info("%d scenes", len(scenes))
    # other scenes than any of the training
    unseen = draw_scenes(args.seed + 1, 100, args.threads)
    held_out = [draw_batch(unseen, args.seed + 1, i) for i in range(6)]
    origin = training_origin(args)
    network = SmallSam()

    def judge(state: Mapping[str, Any]) -> float:
        network.load_state_dict(state)
        return validate(network, held_out)

    def follow(rows: Sequence[Sequence[float]]) -> None:
        write_curve(rows, COLUMNS, args.curve, args.picture)

    trainer = make_trainer(scenes, args.seed, args.steps)
    course = train(trainer, judge, EVERY, args.checkpoint, origin, False, follow)
    if course.diverged:
        raise UserError(f"the training diverged after step {trainer.step}; begin with another seed")
    with atomic(args.weights) as part:
        save_file({name: v.contiguous() for name, v in trainer.average.items()}, part)
    kept = {"weights_sha256": file_sha256(args.weights), "validation_iou": course.rows[-1][-1]}
    write_json(args.record, {**simulated_record("train_small_sam", origin), **kept})


if __name__ == "__main__":
    run(main)
