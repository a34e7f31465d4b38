"""The methods of the benchmark of segmentation: each turns a field into labels."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import zarr

from cellsieve.benchmarks.choices import NO_WEIGHTS
from cellsieve.benchmarks.pseudo_label_agreement import Drawn
from cellsieve.devices import choose_device
from cellsieve.errors import TrainingError, UserError
from cellsieve.folds import fold_of
from cellsieve.network_segmentation import segment_with_network
from cellsieve.promptable import load_model
from cellsieve.promptable.everything import answer_everything
from cellsieve.promptable.interface import PromptableModel
from cellsieve.pseudo_labelling.cellpose_model import load_cellpose
from cellsieve.pseudo_labelling.prompted import answer_field
from cellsieve.pseudo_labelling.prompts import prompt_table
from cellsieve.pseudo_labelling.shape_limits import ShapeLimits
from cellsieve.segmentation import Segmented, segment_field
from cellsieve.segmenters import load_segmenter, read_notes
from cellsieve.segmenters.interface import Segmenter
from cellsieve.weights import read_catalogue, verified

_COARSE = "watershed"
_NETWORK = ("engine", "variant", "backbone")  # of what a file of weights says


class Field(NamedTuple):
    """A field as the methods see it.

    Attributes
    ----------
    name : str
    dapi : array-like, (H, W)
        Background-subtracted counts.
    diameter : float or None
        Typical nucleus diameter in pixels; None when the field has no nuclei.
    intensity : float or None
        Typical intensity of its nuclei, counts.
    """

    name: str
    dapi: Any
    diameter: float | None
    intensity: float | None


Segment = Callable[[Field, zarr.Group], Segmented]


class Method(NamedTuple):
    """A method that is ready to segment.

    Attributes
    ----------
    network : str
        What it runs, for the table.
    device : str
        What it runs on, for the table.
    segment : callable
        ``segment(field, group)`` returns the `Segmented` nuclei of a `Field`;
        the zarr group holds what is needed on the way.
    """

    network: str
    device: str
    segment: Segment


class Unavailable(NamedTuple):
    """A method that cannot be run, and why, for the table."""

    note: str


def load_method(
    name: str, weights: Sequence[Path | str], device: str, threads: int, fields: Sequence[str]
) -> Method | Unavailable:
    """Make a method ready.

    Parameters
    ----------
    name : str
        One of `cellsieve.benchmarks.choices.METHODS`.
    weights : sequence of path-like
        None for the watershed, one a fold for ``maskrcnn_human``, one for the others.
        That of ``cellpose_downloaded`` may be missing.
    device : str
        ``cpu``, ``cuda``, or ``auto``: cuda where there is one.
    threads : int
        Of PyTorch on a CPU.
    fields : sequence of str
        All fields with a truth, in the order of the manifest.

    Returns
    -------
    Method or Unavailable
        The latter when there are no weights of ``cellpose_downloaded``, or a training
        failed.

    Raises
    ------
    UserError
        If there is no such device, or a file is not given, missing or another one.
    """
    if name == "watershed":
        return Method(_COARSE, "cpu", _watershed)
    weights = [Path(path) for path in weights]
    if name == "cellpose_downloaded" and not any(path.is_file() for path in weights):
        return Unavailable(NO_WEIGHTS)
    if not weights:
        raise UserError(f"method {name}: its weights are missing; allowed: --weights FILE")
    device, described = _prepare(device, threads)
    if name in ("sam_auto", "sam_prompted"):
        model = _catalogued(weights[0])
        segment = {"sam_auto": _sam_auto, "sam_prompted": _sam_prompted}[name]
        promptable = load_model(model, weights[0].parent, device)
        return Method(Path(model).name, described, partial(segment, promptable))
    if name == "cellpose_downloaded":
        path = verified(_catalogued(weights[0]), weights[0].parent)
        segmenters = [load_cellpose(path, device)]
        return Method(f"cellpose, {path.name}", described, _networks(segmenters, fields))
    engine, segmenters = name.partition("_")[0], []
    for fold, path in enumerate(weights):
        try:
            segmenters.append(load_segmenter(path, device, engine))
        except TrainingError as error:
            return Unavailable(f"fold {fold}: {error.reason}" if weights[1:] else error.reason)
    return Method(_described(weights[0]), described, _networks(segmenters, fields))


def _described(path: Path) -> str:
    """Name the network of a file of weights, and say if its training changed nothing."""
    notes = read_notes(path)
    network = ", ".join(notes[key] for key in _NETWORK if key in notes)
    return f"{network}, the first weights unchanged" if notes.get("kept") == "start" else network


def _prepare(device: str, threads: int) -> tuple[str, str]:
    """Resolve the device, and describe it."""
    import torch

    torch.set_num_threads(threads)
    device = choose_device(device)
    on_cpu = f"cpu, {threads} thread{'s' if threads > 1 else ''}"
    return device, on_cpu if device == "cpu" else torch.cuda.get_device_name()


def _catalogued(path: Path) -> str:
    """Name of a file in the catalogue, by which its SHA-256 is known; else its path."""
    entries = read_catalogue().values()
    same = [e.name for e in entries if e.place(path.parent).resolve() == path.resolve()]
    return same[0] if same else str(path)


def _watershed(field: Field, group: zarr.Group) -> Segmented:
    return segment_field(field.dapi, field.diameter, _COARSE, group)


def _sam_auto(model: PromptableModel, field: Field, group: zarr.Group) -> Segmented:
    return _seen(answer_everything(field.dapi, model, field.diameter, field.intensity), field)


def _sam_prompted(model: PromptableModel, field: Field, group: zarr.Group) -> Segmented:
    found = _watershed(field, group)
    prompts = prompt_table(field.dapi, found, field.diameter, ShapeLimits())
    return _seen(answer_field(field.dapi, prompts, model, field.diameter, field.intensity), field)


def _seen(masks: pd.DataFrame, field: Field) -> Segmented:
    """Masks without duplicates, the surer one on top."""
    single = masks[masks["duplicate_of"].isna()].sort_values("predicted_iou", kind="stable")
    lookup = np.arange(len(single) + 1, dtype=np.uint32)
    return Segmented(Drawn(single, field.dapi.shape), lookup)


def _networks(segmenters: Sequence[Segmenter], fields: Sequence[str]) -> Segment:
    """Segment each field with the network of its fold, which has not seen it."""
    folds = fold_of(fields, len(segmenters))

    def segment(field: Field, group: zarr.Group) -> Segmented:
        segmenter = segmenters[folds[field.name]]
        return segment_with_network(field.dapi, field.diameter, field.intensity, segmenter, group)

    return segment
