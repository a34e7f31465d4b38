"""Whether a probe can be believed on a slide, and what its spots say of each nucleus."""

from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from cellsieve.fish.aberration import NORMAL_COUNT
from cellsieve.fish.count_evidence import (
    COUNTS,
    SpotModel,
    count_evidence,
    count_strays,
    fit_spots,
    strength,
)
from cellsieve.fish.spot_threshold import signal_threshold

FEWEST_NUCLEI = 20  # assessable ones, for the counts of a slide to be checked
# Most must have two. Counts that are only chance follow a Poisson distribution, of
# which never more than 27 % are two.
LEAST_SHARE_OF_TWO = 0.5
MOST_SHOWN = 8  # counts above are shown together
REFINED = (1 / 3, 1.5)  # times the first threshold: where a better one is looked for
STEPS = 200
SISTERS = 0.1  # nucleus diameters, about 1 µm: so far apart may a split signal's halves lie
_NO_PAIRS = np.zeros((0, 2), np.int64)
_LEAST_PX = 1e-6  # spots of no size are not divided by 0


class ProbeCounts(NamedTuple):
    """What one probe says of the nuclei of one slide.

    Attributes
    ----------
    status : {"ok", "failed", "unchecked", "missing"}
        ``unchecked``: too few nuclei to tell; ``missing``: no field has it.
    reason : str
        Why it is not ``ok``; empty when it is.
    threshold : float or None
        Contrast above which spots were counted for the check.
    split_px : float or None
        Signals of a nucleus that are as near as this count once.
    share_of_two : float or None
        Part of the presumed normal, assessable nuclei that have two spots
        above the threshold.
    outside : int
        Candidates above the threshold that lie in no nucleus.
    readable : ndarray, (n,), bool
        Nuclei of fields that have the probe.
    evidence : ndarray, (n, 9), float64, or None
        Likelihood of 0, 1, … 8 signals, all 1 where it is not readable; None
        when the probe failed or shows no signals.
    cautious : ndarray, (n, 9), float64, or None
        The same without the spots that may be another nucleus' or the other half of
        a split signal.
    strength : ndarray, (n,), float64, or None
        See `cellsieve.fish.count_evidence.strength`.
    """

    status: str
    reason: str
    threshold: float | None
    split_px: float | None
    share_of_two: float | None
    outside: int
    readable: np.ndarray
    evidence: np.ndarray | None = None
    cautious: np.ndarray | None = None
    strength: np.ndarray | None = None


class Nuclei(NamedTuple):
    """What must be known of the nuclei to count in them; all arrays are (n,).

    Attributes
    ----------
    area_px : ndarray of float
    readable : ndarray of bool
        Of fields that have the probe.
    assessable : ndarray of bool
        Whole nuclei that overlap no other; signals are told from noise in them.
    presumed_normal : ndarray of bool
        Nuclei that nothing else speaks against.
    """

    area_px: np.ndarray
    readable: np.ndarray
    assessable: np.ndarray
    presumed_normal: np.ndarray


def count_probe(
    spots: pd.DataFrame, nuclei: Nuclei, split_diameters: float, outside_px: float
) -> ProbeCounts:
    """Tell a probe's signals from noise on a slide, and check that they make sense.

    Parameters
    ----------
    spots : DataFrame
        Candidates of the probe: ``nucleus, y_px, x_px, size_px, height,
        contrast, shared``.
    nuclei : Nuclei
    split_diameters : float
        Distance between the centres of signals, in signal diameters, up to
        which they are one split signal.
    outside_px : float
        Pixels outside all nuclei.

    Returns
    -------
    ProbeCounts
        The check: most of the presumed normal, assessable nuclei have two
        spots above a threshold.
    """
    readable = nuclei.readable
    if not readable.any():
        return ProbeCounts("missing", "no field has this probe", None, None, None, 0, readable)
    inside, stray = spots[spots["nucleus"] >= 0], spots[spots["nucleus"] < 0]
    clear = inside.loc[nuclei.assessable[inside["nucleus"]], "contrast"].to_numpy()
    start = signal_threshold(clear, float(clear.min())) if len(clear) else None
    checked = readable & nuclei.assessable & nuclei.presumed_normal
    if start is None:
        status = "failed" if checked.sum() >= FEWEST_NUCLEI else "unchecked"
        return ProbeCounts(status, "no signals stand out", None, None, None, 0, readable)
    size = float(inside.loc[inside["contrast"] >= start, "size_px"].median())
    split_px = split_diameters * size
    found = loci(inside, split_px)
    strong = found[found["contrast"] >= start * REFINED[0]]
    threshold = refined_threshold(strong[checked[strong["nucleus"]]], start)
    above = found.loc[found["contrast"] >= threshold, "nucleus"]
    status, reason, share = _check(np.bincount(above, minlength=len(readable))[checked])
    outside = int((stray["contrast"] >= threshold).sum())
    counted = ProbeCounts(status, reason, threshold, split_px, share, outside, readable)
    if status == "failed":
        return counted
    strays = count_strays(stray["height"].to_numpy(), outside_px)
    fitted = readable & nuclei.assessable
    model = fit_spots(_renumbered(found, fitted), nuclei.area_px[fitted], strays)
    evidence = [
        _evidence(spots, nuclei, model) for spots in (found, _cautious(inside, split_px, nuclei))
    ]
    return counted._replace(
        evidence=evidence[0],
        cautious=evidence[1],
        strength=strength(found, len(readable), model),
    )


def loci(spots: pd.DataFrame, split_px: float | np.ndarray) -> pd.DataFrame:
    """Join the spots of a nucleus that are near each other, as a split signal's are.

    Parameters
    ----------
    spots : DataFrame
        ``nucleus`` (0 …), ``y_px``, ``x_px``, ``contrast``, ``height``.
    split_px : float, or ndarray, (n,), float
        Spots are near when their centres are within this (one value a spot, the same
        for all of a nucleus); a chain of near ones is one locus.

    Returns
    -------
    DataFrame
        One row a locus: ``nucleus``, the greatest ``contrast`` and its ``height``.
    """
    reach = np.maximum(np.broadcast_to(split_px, len(spots)), _LEAST_PX)
    # in units of the reach, and nuclei two of them apart
    points = np.column_stack([spots["y_px"] / reach, spots["x_px"] / reach, 2.0 * spots["nucleus"]])
    n = len(points)
    pairs = cKDTree(points).query_pairs(1.0, output_type="ndarray") if n else _NO_PAIRS
    near = coo_matrix((np.ones(len(pairs)), pairs.T), shape=(n, n))
    _, chain = connected_components(near, directed=False) if n else (0, np.zeros(0, np.int64))
    brightest = spots.assign(chain=chain).sort_values("contrast", kind="stable")
    return brightest.drop_duplicates("chain", keep="last")[["nucleus", "contrast", "height"]]


def _cautious(spots: pd.DataFrame, split_px: float, nuclei: Nuclei) -> pd.DataFrame:
    """Loci that no other nucleus may share, with all joined that may be a split signal.

    The halves of a split signal lie apart by the same way in µm whatever the optics;
    where these are sharp, that is more than the signal's own diameter.
    """
    own = spots[~spots["shared"]]
    diameter = 2 * np.sqrt(nuclei.area_px / np.pi)
    return loci(own, np.maximum(split_px, SISTERS * diameter[own["nucleus"]]))


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


def _evidence(found: pd.DataFrame, nuclei: Nuclei, model: SpotModel) -> np.ndarray:
    evidence = np.ones((len(nuclei.readable), len(COUNTS)))
    own = _renumbered(found, nuclei.readable)
    evidence[nuclei.readable] = count_evidence(own, nuclei.area_px[nuclei.readable], model)
    return evidence


def _renumbered(found: pd.DataFrame, chosen: np.ndarray) -> pd.DataFrame:
    """Spots of the chosen nuclei, which are numbered anew."""
    own = found[chosen[found["nucleus"]]]
    return own.assign(nucleus=(np.cumsum(chosen) - 1)[own["nucleus"]])


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
