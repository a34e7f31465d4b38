"""A network learns from the pseudo-labels of a laboratory's own fields."""

import hashlib
import logging
from collections.abc import Callable, Mapping, Sequence
from itertools import chain, zip_longest
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from cellsieve.errors import TrainingError
from cellsieve.provenance import code, versions
from cellsieve.segmenters import build_segmenter
from cellsieve.simulation.draws import generator
from cellsieve.training.course import Course, train_afresh
from cellsieve.training.examples import draw_example, draw_scenes
from cellsieve.training.pseudo_agreement import agreement
from cellsieve.training.recipe import SMALLEST, Recipe
from cellsieve.training.second_round import add_confident
from cellsieve.training.trainer import Schedule, Trainer
from cellsieve.training.windows import Window, draw_window

log = logging.getLogger(__name__)

FEWEST = 30  # labels from which something can be learned
_JUDGED = 40  # windows of the validation
_ONE_IN = 5  # fields for the validation
_SCENES = 300  # simulated, beside the real windows
_SIMULATED = 0.5  # of the pictures of a step
_EVERY = 150  # steps between validations


class Options(NamedTuple):
    """How to train.

    Attributes
    ----------
    steps : int
        Of a round.
    rounds : int
        1, or 2: again with the first round's own confident nuclei as labels.
    seed, threads : int
    device : str
        ``cpu`` or ``cuda``.
    """

    steps: int
    rounds: int
    seed: int
    threads: int
    device: str


class Learned(NamedTuple):
    """What came of a fine-tuning.

    Attributes
    ----------
    state : dict of str to Tensor
        The weights that agreed best with pseudo-labels kept for validation.
    rows : list of list of float
        The curve, see `cellsieve.training.course.Course`.
    record : dict
        How it went, in numbers and words.
    """

    state: dict[str, Tensor]
    rows: list[list[float]]
    record: dict[str, Any]


def finetune(
    recipe: Recipe,
    windows: Mapping[str, Sequence[Window]],
    start: Mapping[str, Tensor] | None,
    options: Options,
    checkpoint: Path,
    follow: Callable[[list[list[float]]], None],
) -> Learned:
    """Train a network on the pseudo-labels of some fields.

    Parameters
    ----------
    recipe : Recipe
    windows : mapping of str to sequence of Window
        By field, see `cellsieve.training_fields.cut_training_windows`.
    start : mapping of str to Tensor, or None
        The first weights; they are kept if training does not improve them.
    options : Options
    checkpoint : Path
        Goes on from it if it exists; one file a round, see `checkpoints`.
    follow : callable
        Takes the rows of the curve so far.

    Raises
    ------
    TrainingError
        If there are too few labels and no weights to fall back to, or training
        taught nothing.
    """
    learning, judging, split = _split(windows, generator("split", options.seed))
    labels = sum(len({n for w in found for n in w.nuclei}) for found in windows.values())
    record = {"fields": len(windows), "labels": labels, "split": split}
    if labels < FEWEST or not judging:
        few = f"{labels} labels in {len(windows)} fields are too few to learn from"
        if start is None:
            raise TrainingError(f"{few} (at least {FEWEST})", "; mark more fields with train: yes")
        log.warning("%s (at least %d): the starting weights stay", few, FEWEST)
        return Learned(dict(start), [], {**record, "kept": "start", "reason": few})
    scenes = draw_scenes(options.seed, _SCENES, options.threads)
    one, two = checkpoints(checkpoint)
    first = _round(recipe, learning, judging, scenes, start, options, one, follow)
    record |= {"data_sha256": _digest(learning, judging), "round_1": _summary(first)}
    best, rows, record["kept"] = first, first.rows, "round 1" if first.step else "start"
    if options.rounds == 2:

        def both(new: list[list[float]]) -> list[list[float]]:
            return [*first.rows, *([step + options.steps, *row] for step, *row in new)]

        segmenter = build_segmenter(recipe.engine, first.best, recipe.notes, options.device)
        grown, record["added"] = add_confident(segmenter, learning)
        again = options._replace(seed=options.seed + 1)
        second = _round(
            recipe, grown, judging, scenes, first.best, again, two, lambda new: follow(both(new))
        )
        rows, record["round_2"] = both(second.rows), _summary(second)
        if second.value > first.value:
            best, record["kept"] = second, "round 2"
    return Learned(best.best, rows, record)


def checkpoints(path: Path) -> list[Path]:
    """Return the checkpoints of the two rounds."""
    return [path.with_name(f"{path.name}.{number}") for number in (1, 2)]


def _split(
    windows: Mapping[str, Sequence[Window]], rng: np.random.Generator
) -> tuple[list[Window], list[Window], str]:
    """Part learning from judging by field; by window where few fields have labels."""
    labelled = [found for found in windows.values() if found]
    by_field = len(labelled) >= _ONE_IN
    groups = labelled if by_field else [[window] for found in labelled for window in found]
    order = [groups[i] for i in rng.permutation(len(groups))]
    if len(order) < 2:
        return list(chain(*order)), [], "none"
    # in turn from each field that is kept for it
    turns = chain(*zip_longest(*order[::_ONE_IN]))
    judging = [window for window in turns if window is not None][:_JUDGED]
    learning = list(chain(*(group for i, group in enumerate(order) if i % _ONE_IN)))
    return learning, judging, "by field" if by_field else "by window"


def _round(recipe, learning, judging, scenes, start, options, path, follow) -> Course:
    def draw(step: int) -> Any:
        rng = generator("fine-tuning step", options.seed, step)
        examples = [
            draw_example(rng, scenes, recipe.side, recipe.diameter, SMALLEST)
            if rng.random() < _SIMULATED
            else draw_window(rng, learning, recipe.side, recipe.diameter)
            for _ in range(recipe.pictures)
        ]
        return recipe.collate(examples)

    def validate(state: Mapping[str, Tensor]) -> float:
        segmenter = build_segmenter(recipe.engine, state, recipe.notes, options.device)
        return agreement(segmenter, judging)

    torch.manual_seed(options.seed)
    schedule = Schedule(options.steps, recipe.rate / (2 if start else 1), options.seed)
    trainer = Trainer(recipe.build(start), draw, recipe.loss, schedule, options.device)
    origin = {
        "engine": recipe.engine,
        **recipe.notes,
        **{name: getattr(options, name) for name in ("steps", "seed", "threads", "device")},
        "learned_from": _digest(learning, judging, start),
        "code": " ".join(code(f"finetune_{recipe.engine}")),
        "versions": str(versions()),
    }
    return train_afresh(trainer, validate, _EVERY, path, origin, start is not None, follow)


def _digest(
    learning: Sequence[Window],
    judging: Sequence[Window],
    start: Mapping[str, Tensor] | None = None,
) -> str:
    """SHA-256 of all that a training starts from."""
    digest = hashlib.sha256()
    for window in (*learning, *judging):
        digest.update(repr((window.diameter, window.shown.labels.shape)).encode())
        for plane in window.shown:
            digest.update(np.ascontiguousarray(plane))
    for name, value in (start or {}).items():
        digest.update(name.encode() + value.cpu().numpy().tobytes())
    return digest.hexdigest()


def _summary(course: Course) -> dict[str, Any]:
    return {
        "best_step": course.step,
        "agreement": course.value,
        "agreement_at_start": course.rows[0][-1] if course.rows[0][0] == 0 else None,
        "diverged": course.diverged,
    }
