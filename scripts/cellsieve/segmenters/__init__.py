"""Networks that outline every nucleus of a field, by name of engine."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from cellsieve.errors import TrainingError, UserError
from cellsieve.segmenters.interface import Segmenter

VERSIONS = {"votes": "2", "maskrcnn": "1", "cellpose": "1"}  # of what an engine's weights mean
_NOTES = "cellsieve"
_FAILED = "failed"  # the note of a training that has no weights to show
_LONGEST = 10_000_000  # bytes of a header; what claims more is no such file


def _votes(*args: Any) -> Segmenter:
    from cellsieve.segmenters.votes import VoteSegmenter

    return VoteSegmenter(*args)


def _maskrcnn(*args: Any) -> Segmenter:
    from cellsieve.segmenters.maskrcnn import MaskRcnnSegmenter

    return MaskRcnnSegmenter(*args)


def _cellpose(*args: Any) -> Segmenter:
    from cellsieve.segmenters.cellpose import CellposeSegmenter

    return CellposeSegmenter(*args)


# each takes the weights, what their file says, the name for records and the device
ENGINES: dict[str, Callable[..., Segmenter]] = {
    "votes": _votes,
    "maskrcnn": _maskrcnn,
    "cellpose": _cellpose,
}


def build_segmenter(
    engine: str, state: Mapping[str, Any], notes: Mapping[str, str], device: str
) -> Segmenter:
    """Make a segmenter from weights in training, which stay as they are."""
    return ENGINES[engine](state, notes, "in training", device)


def save_segmenter(
    path: Path | str, state: Mapping[str, Any], engine: str, notes: Mapping[str, str]
) -> None:
    """Write the weights of a segmenter with what is needed to use them.

    Parameters
    ----------
    path : path-like
        ``.safetensors``, written atomically.
    state : mapping of str to Tensor
    engine : str
        A name in `ENGINES`.
    notes : mapping of str to str
        What the engine needs beside the weights.
    """
    from safetensors.torch import save_file

    from cellsieve.files import atomic

    tensors = {name: v.detach().cpu().contiguous() for name, v in state.items()}
    with atomic(path) as part:
        # one entry: the order of several would differ from file to file
        about = json.dumps({**notes, "engine": engine, "version": VERSIONS[engine]}, sort_keys=True)
        save_file(tensors, part, {_NOTES: about})
        part.chmod(0o644)  # written for its owner alone


def save_failure(path: Path | str, engine: str, reason: str) -> None:
    """Write, in the place of weights, why a training has none; see `read_notes`."""
    save_segmenter(path, {}, engine, {_FAILED: reason})


class Weights(NamedTuple):
    """What a file of weights holds.

    Attributes
    ----------
    state : dict of str to Tensor
    notes : dict of str to str
        Engine, version and what the engine needs beside the weights.
    """

    state: dict[str, Any]
    notes: dict[str, str]


def read_notes(path: Path | str, engine: str | None = None) -> dict[str, str]:
    """Read what a file of weights says of itself, without the weights and without PyTorch.

    Parameters
    ----------
    path : path-like
        What `save_segmenter` wrote.
    engine : str, optional
        The engine that is wanted; by default that of the file.

    Raises
    ------
    UserError
        If there is no such file, or it holds other weights.
    TrainingError
        If it tells of a training that failed.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path}: no such file; weights of a segmenter were expected here")
    try:
        with path.open("rb") as file:
            header = json.loads(file.read(min(int.from_bytes(file.read(8), "little"), _LONGEST)))
        notes = json.loads(header.get("__metadata__", {}).get(_NOTES, "{}"))
        found, version = str(notes.get("engine")), notes.get("version")
    except (ValueError, AttributeError, TypeError) as error:
        raise UserError(f"{path}: not a safetensors file, or a damaged one") from error
    if found not in ENGINES:
        raise UserError(f"{path}: not weights of a segmenter of cellsieve ({', '.join(ENGINES)})")
    if engine is not None and found != engine:
        raise UserError(f"{path}: weights of the engine {found}, but {engine} is asked for")
    if version != VERSIONS[found]:
        raise UserError(
            f"{path}: weights of version {version}, but this cellsieve reads {VERSIONS[found]}"
        )
    if _FAILED in notes:
        raise TrainingError(f"the training failed: {notes[_FAILED]}", f"; {path} holds no weights")
    return notes


def read_weights(path: Path | str, engine: str | None = None) -> Weights:
    """Read weights; parameters and errors as of `read_notes`."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    notes = read_notes(path, engine)
    try:
        return Weights(load_file(path), notes)
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path}: a damaged safetensors file: {error}") from error


def load_segmenter(path: Path | str, device: str, engine: str | None = None) -> Segmenter:
    """Load a segmenter from its weights.

    Parameters
    ----------
    path : path-like
        What `save_segmenter` wrote.
    device : str
        ``cpu``, ``cuda``, or ``auto``: cuda where there is one.
    engine : str, optional
        The engine that is wanted; by default that of the file.

    Raises
    ------
    UserError
        If there is no such file or device, or the file holds other weights.
    """
    from cellsieve.devices import choose_device
    from cellsieve.provenance import file_sha256

    device = choose_device(device)
    state, notes = read_weights(path, engine)
    name = f"{Path(path).name}@{file_sha256(path)}"
    try:
        return ENGINES[notes["engine"]](state, notes, name, device)
    except (KeyError, ValueError, RuntimeError) as error:
        fault = " ".join(str(error).split())[:200]
        raise UserError(f"{path}: not the weights that {notes['engine']} needs: {fault}") from error
