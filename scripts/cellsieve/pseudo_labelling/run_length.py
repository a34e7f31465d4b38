"""Run-length codes: masks as short rows of whole numbers."""

from collections.abc import Sequence

import numpy as np


def encode(mask: np.ndarray) -> np.ndarray:
    """Return the lengths of a mask's runs of equal pixels.

    Parameters
    ----------
    mask : ndarray, (h, w), bool

    Returns
    -------
    ndarray, (n,), int32
        Lengths in reading order, beginning with background: 0 when the first
        pixel is set.
    """
    flat = np.concatenate([[False], np.ravel(mask).astype(bool)])
    changes = np.flatnonzero(flat[1:] != flat[:-1])
    return np.diff(np.concatenate([[0], changes, [mask.size]])).astype(np.int32)


def decode(runs: Sequence[int] | np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Return the mask, (h, w) bool, that `encode` was given.

    Raises
    ------
    ValueError
        If the runs do not fill the shape.
    """
    values = np.arange(len(runs)) % 2 == 1
    return np.repeat(values, runs).reshape(shape)
