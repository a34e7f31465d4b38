"""The course of a training: validated and saved every so many steps, the best state kept."""

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, NamedTuple

import torch
from torch import Tensor
from tqdm import tqdm

from cellsieve.errors import TrainingError, UserError
from cellsieve.files import atomic
from cellsieve.training.trainer import Trainer

log = logging.getLogger(__name__)


class OtherTrainingError(UserError):
    """A checkpoint belongs to a training with other options or data."""


class Course(NamedTuple):
    """What a training came to.

    Attributes
    ----------
    rows : list of list of float
        Step, mean loss and figure since the row before, validation. The
        first weights have a row 0 when they were validated.
    best : dict of str to Tensor
        The averaged weights with the highest validation.
    step, value : int, float
        When these were reached and their validation.
    diverged : bool
        Whether the loss ceased to be finite, or the weights degenerated.
    """

    rows: list[list[float]]
    best: dict[str, Tensor]
    step: int
    value: float
    diverged: bool


def train(
    trainer: Trainer,
    validate: Callable[[Mapping[str, Tensor]], float],
    every: int,
    checkpoint: Path | str,
    origin: Mapping[str, Any],
    started: bool,
    follow: Callable[[list[list[float]]], None],
) -> Course:
    """Train to the end of the schedule, or go on from a checkpoint.

    Parameters
    ----------
    trainer : Trainer
        At step 0.
    validate : callable
        Takes weights, returns a figure; higher is better, 0 is worthless. Raises
        FloatingPointError to end a training that degenerates.
    every : int
        Steps between validations and checkpoints.
    checkpoint : path-like
        ``.pt``; is gone on from if it exists.
    origin : mapping
        Numbers and text that a checkpoint must agree with.
    started : bool
        Whether the first weights have learned something already: then they
        are validated too and stay the best ones unless they are beaten.
    follow : callable
        Called with all rows after each validation, to write the curve.

    Returns
    -------
    Course
        With the last good weights if the training diverged.

    Raises
    ------
    OtherTrainingError
        If the checkpoint is of another training.
    UserError
        If the checkpoint is damaged.
    TrainingError
        If no weights ever had a validation above 0; first weights that had none
        are returned where the loss stayed finite.
    """
    course = _resumed(trainer, checkpoint, origin)
    if course is None:
        # first weights that agree with nothing are still more than none
        course = Course([], {}, -1, -1.0 if started else 0.0, False)
        if started:
            course = _first(course, trainer, validate)
    steps = trainer.schedule.steps
    for until in tqdm(range(trainer.step + every, steps + every, every), disable=None):
        if course.diverged:
            break
        course = _continued(course, trainer, validate, min(until, steps))
        with atomic(checkpoint) as part:
            torch.save({**trainer.state(), "course": tuple(course), "origin": dict(origin)}, part)
        follow(course.rows)
    follow(course.rows)  # a finished training that is gone on from writes it here alone
    if not course.best or (course.diverged and course.value <= 0):
        what = "the training diverged" if course.diverged else f"{steps} steps taught nothing"
        raise TrainingError(
            f"{what}: no weights passed the validation",
            "; check what it learns from, begin with other weights or take more steps",
        )
    return course


def train_afresh(
    trainer: Trainer,
    validate: Callable[[Mapping[str, Tensor]], float],
    every: int,
    checkpoint: Path,
    *more: Any,
) -> Course:
    """Train as `train` does, but from the beginning if the checkpoint is of another training."""
    try:
        return train(trainer, validate, every, checkpoint, *more)
    except OtherTrainingError:
        log.warning("%s is of a training with other data or options: begins anew", checkpoint)
        checkpoint.unlink()
        return train(trainer, validate, every, checkpoint, *more)


def _first(course: Course, trainer: Trainer, validate: Callable) -> Course:
    """Validate the first weights; some are degenerate before they have learned anything."""
    try:
        return _judged(course, trainer, validate, [0, float("nan"), float("nan")])
    except FloatingPointError as error:
        log.warning("the first weights: %s", error)
        return course


def _continued(course: Course, trainer: Trainer, validate: Callable, until: int) -> Course:
    """Train to a step and validate there, or end where that makes no sense any more."""
    try:
        seen = [numbers[1:] for numbers in trainer.run(until)]
        row = [trainer.step, *torch.tensor(seen).mean(0).tolist()]
        return _judged(course, trainer, validate, row)
    except FloatingPointError as error:
        log.warning("%s; the training ends with the best weights before", error)
        return course._replace(diverged=True)


def _judged(course: Course, trainer: Trainer, validate: Callable, row: list[float]) -> Course:
    value = validate(trainer.average)
    log.info("step %d: loss %.4f, figure %.4f, validation %.4f", *row, value)
    rows = [*course.rows, [*row, value]]
    if value <= course.value:
        return course._replace(rows=rows)
    best = {name: v.detach().clone() for name, v in trainer.average.items()}
    return Course(rows, best, trainer.step, value, False)


def _resumed(trainer: Trainer, path: Path | str, origin: Mapping[str, Any]) -> Course | None:
    if not Path(path).exists():
        return None
    try:
        state = torch.load(path, weights_only=True, map_location=trainer.device)
        course, found = Course(*state["course"]), state["origin"]
    except (RuntimeError, ValueError, KeyError, EOFError, TypeError, UnpicklingError) as error:
        raise UserError(f"{path} is damaged; remove it to train from the beginning") from error
    if found != dict(origin):
        raise OtherTrainingError(
            f"{path} is of a training with {found}, not {dict(origin)}; give the same"
            " options, or another checkpoint"
        )
    trainer.resume(state)
    log.info("goes on from step %d", trainer.step)
    return course
