"""Weights are data: read tensors from a file, never code."""

import re
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from cellsieve.errors import UserError

_INSTEAD = "use a .safetensors file, or one written by torch.save(model.state_dict(), ...)"


def load_state_dict(path: Path | str) -> dict[str, torch.Tensor]:
    """Read a model's weights onto the CPU.

    Parameters
    ----------
    path : path-like
        A ``.safetensors`` file, or a PyTorch file that holds tensors only.

    Returns
    -------
    dict of str to Tensor
        By the names that the model's ``state_dict`` has.

    Raises
    ------
    UserError
        If the file is truncated, is something else, or is a pickle that would
        run code: that is refused before any of it runs.
    """
    path = Path(path)
    weights = _read_safetensors(path) if path.suffix == ".safetensors" else _read_torch(path)
    if not (isinstance(weights, Mapping) and all(map(torch.is_tensor, weights.values()))):
        raise UserError(f"{path} holds something else than a model's tensors; {_INSTEAD}")
    return dict(weights)


def _read_safetensors(path: Path) -> dict[str, torch.Tensor]:
    try:
        return load_file(path)
    except SafetensorError as error:
        raise _damaged(path) from error


def _read_torch(path: Path) -> object:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, MemoryError):
        raise
    except Exception as error:  # what a damaged pickle raises depends on where it is damaged
        code = re.search(r"GLOBAL (\S+)", str(error))
        if code is None:
            raise _damaged(path) from error
        raise UserError(
            f"{path} refused: loading it would run code ({code[1]}); {_INSTEAD}"
        ) from error


def _damaged(path: Path) -> UserError:
    return UserError(
        f"{path} ({path.stat().st_size} bytes) is truncated, or no file of weights; copy it again"
        f" or {_INSTEAD}"
    )
