"""Train the first weights of the vote network, on simulated nuclei only."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from cellsieve.cli import parser, run
from cellsieve.errors import TrainingError
from cellsieve.training_options import add_training_options, simulated_record, training_origin

log = logging.getLogger("train_segmenter")
EVERY = 500  # steps between rows of the curve
FALL = 0.75  # of the learning rate: slow last steps learn what only simulated nuclei share


def main(argv: Sequence[str] | None = None) -> None:
    """Train, or go on from a checkpoint; write weights, curve and record."""
    options = parser(__doc__)
    add_training_options(options, steps=3000)
    args = options.parse_args(argv)

    import torch

    from cellsieve.files import write_json
    from cellsieve.provenance import code, file_sha256
    from cellsieve.segmenters import build_segmenter, save_segmenter
    from cellsieve.simulation.draws import generator
    from cellsieve.training.course import train
    from cellsieve.training.curve import write_curve
    from cellsieve.training.examples import draw_example, draw_scenes
    from cellsieve.training.pseudo_agreement import agreement
    from cellsieve.training.recipe import SMALLEST
    from cellsieve.training.recipes import load_recipe
    from cellsieve.training.trainer import Schedule, Trainer
    from cellsieve.training.windows import Window

    torch.set_num_threads(args.threads)
    recipe = load_recipe("votes")
    side, diameter = recipe.side, recipe.diameter
    scenes = draw_scenes(args.seed, args.scenes, args.threads)
    log.info("%d scenes", len(scenes))
    # other scenes than any of the training
    unseen = draw_scenes(args.seed + 1, 100, args.threads)
    rng = generator("unseen", args.seed)
    shown = [draw_example(rng, unseen, side, diameter, SMALLEST) for _ in range(48)]
    judged = [Window(example, diameter, ()) for example in shown]
    origin = {"engine": recipe.engine, **recipe.notes, **training_origin(args)}
    origin["code"] = " ".join(code("train_segmenter"))

    def draw(step: int) -> Any:
        rng = generator("training step", args.seed, step)
        drawn = (
            draw_example(rng, scenes, side, diameter, SMALLEST) for _ in range(recipe.pictures)
        )
        return recipe.collate(list(drawn))

    def judge(state: Mapping[str, Any]) -> float:
        return agreement(build_segmenter(recipe.engine, state, recipe.notes, "cpu"), judged)

    def follow(rows: Sequence[Sequence[float]]) -> None:
        columns = ("step", "loss", recipe.figure, "panoptic_quality")
        write_curve(rows, columns, args.curve, args.picture)

    torch.manual_seed(args.seed)
    schedule = Schedule(args.steps, recipe.rate, args.seed, fall=FALL)
    trainer = Trainer(recipe.build(None), draw, recipe.loss, schedule)
    course = train(trainer, judge, EVERY, args.checkpoint, origin, False, follow)
    if course.diverged:
        raise TrainingError(
            f"the training diverged after step {trainer.step}", "; begin with another seed"
        )
    save_segmenter(args.weights, trainer.average, recipe.engine, recipe.notes)
    kept = {
        "weights_sha256": file_sha256(args.weights),
        "panoptic_quality": course.rows[-1][-1],
    }
    write_json(args.record, {**simulated_record("train_segmenter", origin), **kept})


if __name__ == "__main__":
    run(main)
