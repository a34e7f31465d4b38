"""The files that networks for anomalies travel in."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from cellsieve.anomaly_networks.methods import METHODS, Method, in_parts
from cellsieve.anomaly_networks.networks import Backbone
from cellsieve.anomaly_networks.outlier_network import OutlierNetwork, OutlierScorer
from cellsieve.choices import OUTLIER_EXPOSURE
from cellsieve.crops import DIAMETER
from cellsieve.errors import UserError
from cellsieve.files import atomic

VERSION = "1"  # of what the weights mean; others are refused
_NOTES = "cellsieve"
_BACKBONE = "backbone."
_BODY = "body."  # of a backbone, timm's own network


class Network(NamedTuple):
    """A network that describes crops of nuclei.

    Attributes
    ----------
    method : Method
    module : Module
    diameter : int
        Of a typical nucleus in its crops, px; the same for all.
    scored : bool
        Whether it says its method's own score of a crop, too, if there is one.
    """

    method: Method
    module: nn.Module
    scored: bool = False
    diameter = DIAMETER

    def describe(self, crops: np.ndarray) -> pd.DataFrame:
        """Describe crops.

        Parameters
        ----------
        crops : ndarray, (n, 2, s, s)

        Returns
        -------
        DataFrame
            ``e_*``, the unit vectors, float32, and ``pretext`` where it is asked for;
            one row a crop.
        """
        seen = torch.from_numpy(crops).float()
        vectors = in_parts(self.method.embed, self.module, seen).numpy()
        table = pd.DataFrame(vectors, columns=[f"e_{n:03d}" for n in range(vectors.shape[1])])
        if self.scored and self.method.pretext:
            table["pretext"] = in_parts(self.method.pretext, self.module, seen).numpy()
        return table


def save_network(
    path: Path | str, state: Mapping[str, Tensor], method: str, backbone: str | None = None
) -> None:
    """Write weights, with what is needed to use them, as safetensors."""
    about = {"method": method, "version": VERSION} | ({"backbone": backbone} if backbone else {})
    notes = {_NOTES: json.dumps(about, sort_keys=True)}
    with atomic(path) as part:
        save_file({name: v.cpu().contiguous() for name, v in state.items()}, part, notes)
        part.chmod(0o644)  # written for its owner alone


def load_network(
    path: Path | str, device: str, exposed: bool | None = None
) -> Network | OutlierScorer:
    """Load a network that `save_network` wrote.

    Parameters
    ----------
    path : path-like
    device : str
    exposed : bool, optional
        Whether it must be one of ``outlier_exposure``; any network by default.

    Raises
    ------
    UserError
        If there is no such file or it holds something else than what is asked for.
    """
    notes, state = _read(path)
    found = notes["method"] == OUTLIER_EXPOSURE
    if exposed not in (None, found):
        wanted = OUTLIER_EXPOSURE if exposed else "a network that embeds nuclei"
        raise UserError(f"{path}: weights of {notes['method']}, but {wanted} is asked for")
    method = None if found else METHODS[notes["method"]]
    module = OutlierNetwork() if found else method.build(Backbone(notes["backbone"]))
    try:
        module.load_state_dict(state)
    except RuntimeError as error:
        fault = " ".join(str(error).split())[:200]
        raise UserError(f"{path}: not the weights that {notes['method']} needs: {fault}") from error
    module.to(device).eval()
    return OutlierScorer(module) if found else Network(method, module)


def load_start(path: Path | str, backbone: str) -> dict[str, Tensor]:
    """Load the weights of a backbone, whatever method they are of, to begin a fit with.

    Parameters
    ----------
    path : path-like
        Of cellsieve, or of timm for that very network (safetensors).
    backbone : str

    Raises
    ------
    UserError
        If there is no such file or it is of another backbone.
    """
    if names := _names_of_timm(path):
        state = Backbone(backbone, Path(path)).state_dict()
        # timm passes over what a file lacks
        if missing := sorted({name.removeprefix(_BODY) for name in state} - names):
            raise UserError(f"{path}: not weights of {backbone}: no {missing[0]}")
        return state
    notes, state = _read(path)
    found = notes.get("backbone", notes["method"])
    if found != backbone:
        raise UserError(f"{path}: weights of {found}, but {backbone} is asked for")
    return {
        name.removeprefix(_BACKBONE): value.float()
        for name, value in state.items()
        if name.startswith(_BACKBONE)
    }


def _names_of_timm(path: Path | str) -> set[str]:
    """Return the names of the tensors in a file of timm; none of any other file."""
    try:
        with safe_open(path, "pt") as file:
            known = _NOTES in (file.metadata() or {})
            return set() if known else set(file.keys())
    except (SafetensorError, OSError):
        return set()


def _read(path: Path | str) -> tuple[dict[str, str], dict[str, Tensor]]:
    if not Path(path).is_file():
        raise UserError(f"{path}: no such file; weights of an anomaly network were expected here")
    try:
        with safe_open(path, "pt") as file:
            notes = json.loads((file.metadata() or {}).get(_NOTES, "{}"))
        state = load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise UserError(f"{path}: not a safetensors file, or a damaged one") from error
    method = notes.get("method")
    if method != OUTLIER_EXPOSURE and (method not in METHODS or "backbone" not in notes):
        raise UserError(f"{path}: not weights of an anomaly network of cellsieve")
    if notes["version"] != VERSION:
        raise UserError(
            f"{path}: weights of version {notes['version']}, but this cellsieve reads {VERSION}"
        )
    return notes, state
