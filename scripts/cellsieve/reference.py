"""The reference: what is known to be normal, and how far from it a nucleus lies."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.spatial import cKDTree

NEIGHBOURS = 2
SMALLEST_BANK = 20
_TRIMMED = 0.1  # share of a slide's nuclei that its own bank leaves out


class Scores(NamedTuple):
    """Distance of nuclei to the reference.

    Attributes
    ----------
    score : ndarray, (n,), float64
        Sum of the squared distances to the two nearest reference nuclei, in
        standardised feature space (methods: Reiss & Hoshen, arXiv 2106.03844).
    nearest : ndarray of str, (n, 2)
        Names of those two.
    """

    score: np.ndarray
    nearest: np.ndarray


class Bank:
    """Feature vectors of reference nuclei, standardised, ready to be searched.

    Parameters
    ----------
    table : DataFrame
        Columns ``id`` (``"{field}:{cell}"``) and ``f_*``; at least
        `SMALLEST_BANK` rows.
    """

    def __init__(self, table: pd.DataFrame):
        if len(table) < SMALLEST_BANK:
            raise ValueError(f"{len(table)} reference nuclei; at least {SMALLEST_BANK} are needed")
        self.columns = feature_columns(table)
        self.ids = table["id"].to_numpy(str)
        values = table[self.columns].to_numpy(float)
        self.mean = values.mean(0)
        # a feature that does not vary says nothing; it must not divide by zero
        self.scale = np.maximum(values.std(0), 1e-9)
        self.tree = cKDTree((values - self.mean) / self.scale)

    def score(self, table: pd.DataFrame) -> Scores:
        """Score nuclei; one that is itself in the bank is not its own neighbour.

        Parameters
        ----------
        table : DataFrame
            Columns ``id`` and the bank's ``f_*``.
        """
        values = (table[self.columns].to_numpy(float) - self.mean) / self.scale
        distance, index = self.tree.query(values, k=NEIGHBOURS + 1)
        itself = self.ids[index] == table["id"].to_numpy(str)[:, None]
        # drop the nucleus itself where it was found, else the farthest
        dropped = np.where(itself.any(1), itself.argmax(1), NEIGHBOURS)
        kept = np.arange(NEIGHBOURS + 1) != dropped[:, None]
        shape = (len(table), NEIGHBOURS)
        return Scores(
            (distance[kept].reshape(shape) ** 2).sum(1), self.ids[index][kept].reshape(shape)
        )


class Split(NamedTuple):
    """Which reference nuclei make the bank and which calibrate it.

    Attributes
    ----------
    in_bank : ndarray, (n,), bool
        The others calibrate.
    by : str
        ``"slide"``, ``"field"`` or ``"nucleus"``: what the two sets do not share.
    """

    in_bank: np.ndarray
    by: str


def split_reference(table: pd.DataFrame, seed: int) -> Split:
    """Divide the reference in two halves that share no slide, else no field.

    Parameters
    ----------
    table : DataFrame
        Columns ``slide``, ``field``, one row a nucleus.
    seed : int
        Decides which slides, fields or nuclei go where.
    """
    random = np.random.default_rng(seed)
    for by in ("slide", "field"):
        groups = np.unique(table[by].to_numpy(str))
        if len(groups) > 1:
            chosen = random.permutation(groups)[: (len(groups) + 1) // 2]
            return Split(np.isin(table[by].to_numpy(str), chosen), by)
    in_bank = np.zeros(len(table), bool)
    in_bank[random.permutation(len(table))[: (len(table) + 1) // 2]] = True
    return Split(in_bank, "nucleus")


def trim(table: pd.DataFrame) -> pd.DataFrame:
    """Leave out the nuclei of a slide that are farthest from its own middle.

    Parameters
    ----------
    table : DataFrame
        Columns ``f_*``. Distance is by median and median absolute deviation.
    """
    values = table[feature_columns(table)].to_numpy(float)
    middle = np.median(values, 0)
    spread = np.maximum(1.4826 * np.median(np.abs(values - middle), 0), 1e-9)
    distance = (((values - middle) / spread) ** 2).sum(1)
    return table[distance <= np.quantile(distance, 1 - _TRIMMED)]


def conformal_p(score: np.ndarray, calibration: np.ndarray) -> np.ndarray:
    """Chance that a normal nucleus scores as high, from held-out normal nuclei.

    Parameters
    ----------
    score : ndarray, (n,)
    calibration : ndarray, (m,)
        Scores of reference nuclei that the bank does not hold.

    Returns
    -------
    ndarray, (n,), float64
        (1 + number of calibration scores at least as high) / (m + 1); NaN when
        there are no calibration scores (Vovk et al., 2005).
    """
    if not len(calibration):
        return np.full(len(score), np.nan)
    ordered = np.sort(calibration)
    higher = len(ordered) - np.searchsorted(ordered, score, side="left")
    return (1 + higher) / (len(ordered) + 1)


def feature_columns(table: pd.DataFrame) -> Sequence[str]:
    """Names of the feature columns of a table."""
    return [name for name in table.columns if name.startswith("f_")]
