"""How many signals of a probe each nucleus of a slide has, and whether to believe it."""

from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from cellsieve.spot_threshold import signal_threshold

NORMAL_COUNT = 2
FEWEST_NUCLEI = 20  # assessable ones, for the counts of a slide to be checked
# Most must have two. Counts that are only chance follow a Poisson distribution, of
# which never more than 27 % are two.
LEAST_SHARE_OF_TWO = 0.5
MOST_SHOWN = 8  # counts above are shown together
REFINED = (1 / 3, 1.5)  # times the first threshold: where a better one is looked for
STEPS = 200
_NO_PAIRS = np.zeros((0, 2), np.int64)
_APART_PX = 1e7  # between nuclei in the search for neighbours: farther than any field is wide


class ProbeCounts(NamedTuple):
    """The counts of one probe on one slide.

    Attributes
    ----------
    status : {"ok", "failed", "unchecked", "missing"}
        ``unchecked``: too few nuclei to tell; ``missing``: no field has it.
    reason : str
        Why it is not ``ok``; empty when it is.
    threshold : float or None
        Least contrast of a signal.
    split_px : float or None
        Signals of a nucleus that are as near as this count once.
    counts : ndarray, (n,), float64
        Signals of each nucleus; NaN where they cannot be had.
    share_of_two : float or None
        Part of the presumed normal, assessable nuclei that have two signals.
    outside : int
        Candidates above the threshold that lie in no nucleus.
    """

    status: str
    reason: str
    threshold: float | None
    split_px: float | None
    counts: np.ndarray
    share_of_two: float | None
    outside: int


def count_probe(
    spots: pd.DataFrame,
    readable: np.ndarray,
    assessable: np.ndarray,
    presumed_normal: np.ndarray,
    split_diameters: float,
) -> ProbeCounts:
    """Set a probe's threshold on a slide, count, and check the counts.

    Parameters
    ----------
    spots : DataFrame
        Candidates of the probe: ``nucleus, y_px, x_px, size_px, contrast``.
    readable : ndarray, (n,), bool
        Nuclei of fields that have the probe.
    assessable : ndarray, (n,), bool
        Whole nuclei that overlap no other; the threshold is found in them.
    presumed_normal : ndarray, (n,), bool
        Nuclei that nothing else speaks against.
    split_diameters : float
        Distance between the centres of signals, in signal diameters, up to
        which they are one split signal.

    Returns
    -------
    ProbeCounts
        The check: most of the presumed normal, assessable nuclei have two
        signals.
    """
    nothing = np.full(len(readable), np.nan)
    if not readable.any():
        return ProbeCounts("missing", "no field has this probe", None, None, nothing, None, 0)
    inside = spots[spots["nucleus"] >= 0]
    clear = inside.loc[assessable[inside["nucleus"]], "contrast"].to_numpy()
    start = signal_threshold(clear, float(clear.min())) if len(clear) else None
    checked = readable & assessable & presumed_normal
    if start is None:
        status = "failed" if checked.sum() >= FEWEST_NUCLEI else "unchecked"
        return ProbeCounts(status, "no signals stand out", None, None, nothing, None, 0)
    size = float(inside.loc[inside["contrast"] >= start, "size_px"].median())
    split_px = split_diameters * size
    found = loci(inside[inside["contrast"] >= start * REFINED[0]], split_px)
    threshold = refined_threshold(found[checked[found["nucleus"]]], start)
    kept = found.loc[found["contrast"] >= threshold, "nucleus"]
    counts = np.where(readable, np.bincount(kept, minlength=len(readable)), np.nan)
    status, reason, share = _check(counts[checked].astype(np.int64))
    outside = int((spots.loc[spots["nucleus"] < 0, "contrast"] >= threshold).sum())
    if status == "failed":
        counts = nothing
    return ProbeCounts(status, reason, threshold, split_px, counts, share, outside)


def loci(spots: pd.DataFrame, split_px: float) -> pd.DataFrame:
    """Join the spots of a nucleus that are near each other, as a split signal's are.

    Parameters
    ----------
    spots : DataFrame
        ``nucleus`` (0 …), ``y_px``, ``x_px``, ``contrast``.
    split_px : float
        Spots are near when their centres are within this; a chain of near
        ones is one locus.

    Returns
    -------
    DataFrame
        One row a locus: ``nucleus`` and the greatest ``contrast``.
    """
    apart = spots["nucleus"] * _APART_PX
    points = np.column_stack([spots["y_px"], spots["x_px"], apart])
    n = len(points)
    pairs = cKDTree(points).query_pairs(split_px, output_type="ndarray") if n else _NO_PAIRS
    near = coo_matrix((np.ones(len(pairs)), pairs.T), shape=(n, n))
    _, chain = connected_components(near, directed=False) if n else (0, np.zeros(0, np.int64))
    brightest = spots.assign(chain=chain).sort_values("contrast", kind="stable")
    return brightest.drop_duplicates("chain", keep="last")[["nucleus", "contrast"]]


def refined_threshold(found: pd.DataFrame, start: float) -> float:
    """Contrast near a first threshold at which most nuclei have two loci.

    A nucleus has two exactly when the threshold lies between the contrasts of
    its third and its second brightest locus.

    Parameters
    ----------
    found : DataFrame
        Loci of presumed normal nuclei: ``nucleus, contrast``.
    start : float
        The first threshold.

    Returns
    -------
    float
        The middle of the contrasts, on a logarithmic scale from a third to
        one and a half times ``start``, that do best; ``start`` where no
        nucleus has two.
    """
    ordered = found.sort_values("contrast", ascending=False, kind="stable")
    rank = ordered.groupby("nucleus").cumcount()
    second, third = (np.sort(ordered.loc[rank == r, "contrast"].to_numpy()) for r in (1, 2))
    if not len(second):
        return start
    tried = start * np.geomspace(*REFINED, STEPS)
    two = (len(second) - np.searchsorted(second, tried)) - (
        len(third) - np.searchsorted(third, tried)
    )
    return float(np.exp(np.log(tried[two == two.max()]).mean()))


def count_histogram(counts: np.ndarray) -> np.ndarray:
    """Nuclei with 0, 1, …, 8 or more signals; missing counts are left out."""
    known = counts[~np.isnan(counts)].astype(np.int64)
    return np.bincount(np.minimum(known, MOST_SHOWN), minlength=MOST_SHOWN + 1)


def _check(counts: np.ndarray) -> tuple[str, str, float | None]:
    """Status, reason and share of nuclei with two signals."""
    if len(counts) < FEWEST_NUCLEI:
        few = (
            f"only {len(counts)} assessable nuclei; {FEWEST_NUCLEI} are needed to check the counts"
        )
        return "unchecked", few, None
    mode = int(np.bincount(counts).argmax())
    share = float((counts == NORMAL_COUNT).mean())
    if mode != NORMAL_COUNT:
        return "failed", f"most presumed normal nuclei have {mode} signals, not 2", share
    if share < LEAST_SHARE_OF_TWO:
        return "failed", f"only {share:.0%} of presumed normal nuclei have 2 signals", share
    return "ok", "", share
