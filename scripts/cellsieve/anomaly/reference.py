"""The reference: what is known to be normal, and how far from it a nucleus lies."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.spatial import cKDTree

from cellsieve.anomaly.coreset import farthest_first
from cellsieve.anomaly.rarity import Rarity, join
from cellsieve.anomaly.signs import Signs

NEIGHBOURS = 2
SMALLEST_BANK = 20
_LESS = 0.5  # weight of having less of a sign of malignancy than normal nuclei
_FAR = 5.0  # decades of rarity by distance from which distance alone is enough
_CORE = 5000  # embedded nuclei that others are compared with, at most
_TRIMMED = 0.1  # share of a slide's nuclei that its own bank leaves out


class Scores(NamedTuple):
    """How unlike the reference nuclei are.

    Attributes
    ----------
    crop : ndarray, (n,), float64
        Log odds of exaggerated signs of malignancy (with a network that knows simulated
        abnormal nuclei the sum of both, in deviations of the bank), or the sum of the squared
        distances to the two nearest reference nuclei, among features or embeddings
        (Reiss & Hoshen, arXiv 2106.03844).
    surroundings : ndarray, (n,), float64
        What is unusual beside the nucleus: the brightest speck, or a network's map.
    score : ndarray, (n,), float64
        Both joined, in decades of rarity among the nuclei of the bank.
    nearest : ndarray of str, (n, 2)
        Names of the two nearest reference nuclei.
    """

    crop: np.ndarray
    surroundings: np.ndarray
    score: np.ndarray
    nearest: np.ndarray


class Bank:
    """Reference nuclei, ready to be compared with others.

    Parameters
    ----------
    table : DataFrame
        As `prepare_bank` gives it; at least `SMALLEST_BANK` rows.
    signs : Signs, optional
        What was learned from these very nuclei; without it the distance to the nearest
        ones is the score.
    """

    def __init__(self, table: pd.DataFrame, signs: Signs | None = None):
        if len(table) < SMALLEST_BANK:
            raise ValueError(f"{len(table)} reference nuclei; at least {SMALLEST_BANK} are needed")
        embedded = feature_columns(table, "e_")
        self.columns = embedded or feature_columns(table, "f_")
        self.ids = table["id"].to_numpy(str)
        self.core = self.ids[table["core"]]
        # unit vectors are compared as they are
        self.standard = None if embedded else _standard(table[self.columns].to_numpy(float))
        values = self._place(table[table["core"]])
        self.search = _brute_force(values) if embedded else cKDTree(values).query
        self.signs = signs
        self.distance_rarity = Rarity(table["distance"])
        self.exposed = "outlier" in table
        if signs:
            self.units = _standard(self._odds(table)) if self.exposed else (0.0, 1.0)
            self.odds_rarity = Rarity(np.exp(self._log_odds(table)))
        # what a network makes of them, where it looked
        self.beside = next(name for name in ("localised", "specks") if name in table)
        self.surroundings_rarity = Rarity(table[self.beside])

    def score(self, table: pd.DataFrame) -> Scores:
        """Score nuclei; one that is itself in the bank is not compared with itself.

        Parameters
        ----------
        table : DataFrame
            Columns ``id``, ``specks``, ``localised`` and ``outlier`` if the bank has them, and the
            bank's ``f_*`` or ``e_*``.
        """
        crop, nearest = self.neighbours(table)
        rarity = self.distance_rarity(crop)
        if self.signs:
            crop = self._log_odds(table)
            # far from all normal nuclei no classifier is to be trusted
            far = np.where(rarity >= _FAR, rarity, 0)
            rarity = np.maximum(self.odds_rarity(np.exp(crop)), far)
        beside = table[self.beside].to_numpy(float)
        # nothing is known where no window has neighbours
        rare = np.where(np.isnan(beside), 0, self.surroundings_rarity(np.nan_to_num(beside)))
        return Scores(crop, beside, join(rarity, rare), nearest)

    def _log_odds(self, table: pd.DataFrame) -> np.ndarray:
        """Return the log odds, (n,); those of two views are summed in deviations of the bank."""
        middle, spread = self.units
        return ((self._odds(table) - middle) / spread).sum(1)

    def _odds(self, table: pd.DataFrame) -> np.ndarray:
        """Return the log odds of signs and, if there is one, of a network, (n, 1 or 2)."""
        place = pd.Index(self.ids).get_indexer(table["id"])
        odds = self.signs.log_odds(table[self.columns].to_numpy(float), place)
        return np.stack([odds, table["outlier"]] if self.exposed else [odds], 1)

    def _place(self, table: pd.DataFrame) -> np.ndarray:
        """Place nuclei in feature space, (n, features)."""
        values = table[self.columns].to_numpy(float)
        if self.standard is None:
            return values
        middle, scale = self.standard
        values = (values - middle) / scale
        return np.where(values < 0, _LESS * values, values)

    def neighbours(self, table: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
        """Return the sum of the squared distances to the two nearest, (n,), and their names."""
        distance, index = self.search(self._place(table), NEIGHBOURS + 1)
        itself = self.core[index] == table["id"].to_numpy(str)[:, None]
        # drop the nucleus itself where it was found, else the farthest
        dropped = np.where(itself.any(1), itself.argmax(1), NEIGHBOURS)
        kept = np.arange(NEIGHBOURS + 1) != dropped[:, None]
        shape = (len(table), NEIGHBOURS)
        return (distance[kept].reshape(shape) ** 2).sum(1), self.core[index][kept].reshape(shape)


def prepare_bank(table: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Choose the nuclei that others are compared with, and compare all of the bank with them.

    Parameters
    ----------
    table : DataFrame
        Columns ``id`` (``"{field}:{cell}"``), ``f_*`` and ``specks``, and ``e_*`` where
        a network has embedded the nuclei: then neighbours are searched there.

    Returns
    -------
    table : DataFrame
        With ``core``, whether a nucleus may be a neighbour: of more than 5,000 vectors a
        coreset; and ``distance``, the sum of the squared distances to the two nearest others.
    notes : list of str
        What is lost with a coreset.
    """
    vectors = table[feature_columns(table, "e_")].to_numpy(np.float32)
    core, notes = np.ones(len(table), bool), []
    if vectors.shape[1] and len(table) > _CORE:
        places, radius = farthest_first(vectors, _CORE)
        core = np.isin(np.arange(len(table)), places)
        share = f"{_CORE} of the bank's {len(table)} nuclei are compared with"
        notes = [f"{share}; none of the others is farther than {radius:.3f} from all of them"]
    prepared = table.assign(core=core, distance=0.0)
    return prepared.assign(distance=Bank(prepared).neighbours(table)[0]), notes


def _standard(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the middle and the spread of features, (n, features)."""
    # a feature that does not vary says nothing; it must not divide by zero
    return np.median(values, 0), np.maximum(values.std(0), 1e-9)


def _brute_force(bank: np.ndarray) -> Callable[[np.ndarray, int], tuple[np.ndarray, np.ndarray]]:
    """Return the search among vectors of many dimensions, where a tree does not help."""
    from sklearn.neighbors import NearestNeighbors

    return NearestNeighbors(algorithm="brute").fit(bank).kneighbors


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
    """Divide the reference in two halves of some size that share no slide, else no field.

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
            in_bank = np.isin(table[by].to_numpy(str), chosen)
            # a tiny slide alone can neither be a bank nor calibrate one
            if min(in_bank.sum(), (~in_bank).sum()) >= SMALLEST_BANK:
                return Split(in_bank, by)
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
    values = table[feature_columns(table, "f_")].to_numpy(float)
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
        there are no calibration scores, or no score (Vovk et al., 2005).
    """
    if not len(calibration):
        return np.full(len(score), np.nan)
    ordered = np.sort(calibration)
    higher = len(ordered) - np.searchsorted(ordered, score, side="left")
    return np.where(np.isnan(score), np.nan, (1 + higher) / (len(ordered) + 1))


def feature_columns(table: pd.DataFrame, kind: str) -> list[str]:
    """Names of the columns of a kind: ``f_``, hand-made, or ``e_``, a network's."""
    return [name for name in table.columns if name.startswith(kind)]
