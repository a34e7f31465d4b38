"""A network learns from the pseudo-labels of a laboratory's own fields."""

import hashlib
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from cellsieve.errors import UserError
from cellsieve.segmenters import build_segmenter
from cellsieve.simulation.draws import generator
from cellsieve.training.course import Course, OtherTrainingError, train
from cellsieve.training.examples import draw_example, draw_scenes
from cellsieve.training.pseudo_agreement import agreement
from cellsieve.training.recipe import SMALLEST, Recipe
from cellsieve.training.second_round import add_confident
from cellsieve.training.trainer import Schedule, Trainer
from cellsieve.training.windows import LabelledField, Window, cut_windows, draw_window

log = logging.getLogger(__name__)

FEWEST = 30  # pseudo-labels from which something can be learned
_WINDOWS = 600  # in memory
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
    fields: Sequence[LabelledField],
    start: Mapping[str, Tensor] | None,
    options: Options,
    checkpoint: Path,
    follow: Any,
) -> Learned:
    """Train a network on the pseudo-labels of some fields.

    Parameters
    ----------
    recipe : Recipe
    fields : sequence of LabelledField
    start : mapping of str to Tensor, or None
        The first weights; they are kept if training does not improve them.
    options : Options
    checkpoint : Path
        Goes on from it if it exists; one file a round, ``.1`` and ``.2`` appended.
    follow : callable
        Takes the rows of the curve so far.

    Raises
    ------
    UserError
        If there are too few labels and no weights to fall back to.
    """
    rng = generator("windows", options.seed)
    learning, judging, split = _split(fields, rng)
    labels = sum(window.nuclei for window in (*learning, *judging))
    record = {"fields": len(fields), "labels": labels, "split": split}
    if labels < FEWEST or not learning or not judging:
        few = f"{labels} pseudo-labels in {len(fields)} fields are too few to learn from"
        if start is None:
            raise UserError(f"{few} (at least {FEWEST}); mark more fields with train: yes")
        log.warning("%s (at least %d): the starting weights stay", few, FEWEST)
        return Learned(dict(start), [], {**record, "kept": "start", "reason": few})
    scenes = draw_scenes(options.seed, _SCENES, options.threads)
    first = _round(recipe, learning, judging, scenes, start, options, checkpoint, 1, follow)
    record["round_1"] = _summary(first)
    if options.rounds < 2:
        return Learned(first.best, first.rows, {**record, "kept": "round 1"})
    grown, added = add_confident(
        build_segmenter(recipe.engine, first.best, recipe.notes, options.device), learning
    )
    log.info("second round: %d confident nuclei join %d labels", added, labels)
    rows = first.rows

    def follow_both(more: list[list[float]]) -> None:
        follow([*rows, *more])

    second = _round(recipe, grown, judging, scenes, first.best, options, checkpoint, 2, follow_both)
    record |= {"added": added, "round_2": _summary(second)}
    better = second.value > first.value
    record["kept"] = "round 2" if better else "round 1"
    return Learned((second if better else first).best, [*rows, *second.rows], record)


def _split(
    fields: Sequence[LabelledField], rng: np.random.Generator
) -> tuple[list[Window], list[Window], str]:
    """Part learning from judging by field; by window where there are few fields."""
    if len(fields) >= _ONE_IN:
        order = rng.permutation(len(fields))
        held = set(order[::_ONE_IN].tolist())
        learning = [field for i, field in enumerate(fields) if i not in held]
        judging = [field for i, field in enumerate(fields) if i in held]
        return (
            cut_windows(learning, _WINDOWS, rng),
            cut_windows(judging, _JUDGED, rng),
            "by field",
        )
    windows = cut_windows(fields, _WINDOWS, rng)
    judging = windows[::_ONE_IN][:_JUDGED] if len(windows) > 1 else []
    return [w for i, w in enumerate(windows) if i % _ONE_IN], judging, "by window"


def _round(recipe, learning, judging, scenes, start, options, checkpoint, number, follow) -> Course:
    seed = options.seed + number - 1

    def draw(step: int) -> Any:
        rng = generator("fine-tuning step", seed, step)
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

    torch.manual_seed(seed)
    schedule = Schedule(options.steps, recipe.rate / (2 if start else 1))
    trainer = Trainer(recipe.build(start), draw, recipe.loss, schedule, options.device)
    origin = {
        "engine": recipe.engine,
        **recipe.notes,
        "round": number,
        "seed": seed,
        **{name: getattr(options, name) for name in ("steps", "threads", "device")},
        "learned_from": _digest(learning, judging, start),
    }
    path = checkpoint.with_name(f"{checkpoint.name}.{number}")
    how = (trainer, validate, _EVERY, path, origin, start is not None, follow)
    try:
        return train(*how)
    except OtherTrainingError:
        log.warning("%s is of a training with other fields or options: begins anew", path)
        path.unlink()
        return train(*how)


def _digest(
    learning: Sequence[Window], judging: Sequence[Window], start: Mapping[str, Tensor] | None
) -> str:
    """SHA-256 of all that a training starts from."""
    digest = hashlib.sha256()
    for window in (*learning, *judging):
        for plane in window.shown:
            digest.update(np.ascontiguousarray(plane))
    for name, value in (start or {}).items():
        digest.update(name.encode() + value.numpy().tobytes())
    return digest.hexdigest()


def _summary(course: Course) -> dict[str, Any]:
    return {
        "best_step": course.step,
        "agreement": course.value,
        "agreement_at_start": course.rows[0][-1],
        "diverged": course.diverged,
    }
