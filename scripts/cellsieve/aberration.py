"""How many signals each nucleus has, judged from all probes together.

Most nuclei of a slide are normal: every probe has two signals, or seems to
have fewer where one did not hybridise. A few are aberrant, and then any probe
may have any number. The shares of both kinds and the numbers that occur in
them are estimated from the slide, beginning with a few nuclei's worth of what
is known beforehand. A third spot in one probe is then most likely a stray one;
clear third spots in two probes make an aberrant nucleus.

References
----------
Dempster, Laird & Rubin, J. R. Stat. Soc. B 39:1 (1977): the estimate.
"""

from typing import NamedTuple

import numpy as np

from cellsieve.count_evidence import COUNTS

NORMAL_COUNT = 2
_ABERRANT = 0.3, 10.0  # aberrant nuclei, and nuclei in all, that are thought of beforehand
# how often a nucleus of each kind has 0, 1, … 8 signals, in nuclei thought of beforehand
_OF_NORMAL = np.array([0.1, 1, 98.9, 0, 0, 0, 0, 0, 0])
_OF_ABERRANT = 20 * np.array([0.05, 0.2, 0.35, 0.2, 0.1, 0.05, 0.02, 0.02, 0.01])
_ITERATIONS = 200
_TOLERANCE = 1e-6
_SMALLEST, _FARTHEST = 1e-300, 500.0  # keep logarithms and exponentials finite


class Kinds(NamedTuple):
    """What the nuclei of a slide are like.

    Attributes
    ----------
    share : float
        Of the aberrant nuclei.
    normal : ndarray, (p, 9), float64
        How often a normal nucleus has 0, 1, … 8 signals of each probe.
    aberrant : ndarray, (9,), float64
        The same of an aberrant one, for any probe.
    """

    share: float
    normal: np.ndarray
    aberrant: np.ndarray


class Posterior(NamedTuple):
    """What is to be believed of each nucleus.

    Attributes
    ----------
    counts : ndarray, (n, p, 9), float64
        Probability of 0, 1, … 8 signals of each probe.
    gains : ndarray, (n, p + 1), float64
        Probability that exactly 0, 1, … p probes have more than two.
    """

    counts: np.ndarray
    gains: np.ndarray


def fit_kinds(evidence: np.ndarray) -> Kinds:
    """Estimate the kinds of nuclei of a slide.

    Parameters
    ----------
    evidence : ndarray, (n, p, 9), float64
        Likelihood of each count, of whole nuclei; see `count_evidence`.
    """
    before = _OF_ABERRANT / _OF_ABERRANT.sum()
    normal = np.tile(_OF_NORMAL / _OF_NORMAL.sum(), (evidence.shape[1], 1))
    kinds = Kinds(_ABERRANT[0] / _ABERRANT[1], normal, before)
    for _ in range(_ITERATIONS):
        aberrant, of_normal, of_aberrant = _expect(evidence, kinds)
        share = (aberrant.sum() + _ABERRANT[0]) / (len(evidence) + _ABERRANT[1])
        weight = aberrant[:, None, None]
        normal = ((1 - weight) * of_normal).sum(axis=0) + _OF_NORMAL
        odd = (weight * of_aberrant).sum(axis=(0, 1)) + _OF_ABERRANT
        done = abs(share - kinds.share) < _TOLERANCE
        kinds = Kinds(share, normal / normal.sum(axis=1, keepdims=True), odd / odd.sum())
        if done:
            break
    return kinds


def judge(evidence: np.ndarray, kinds: Kinds) -> Posterior:
    """Weigh the counts of nuclei by what nuclei of the slide are like.

    Parameters
    ----------
    evidence : ndarray, (n, p, 9), float64
        May be of other nuclei than the kinds were estimated from; all equal
        where nothing is known of a probe.
    kinds : Kinds
    """
    aberrant, of_normal, of_aberrant = _expect(evidence, kinds)
    weight = aberrant[:, None, None]
    gains = [_gains(of[:, :, COUNTS > NORMAL_COUNT].sum(axis=2)) for of in (of_normal, of_aberrant)]
    return Posterior(
        (1 - weight) * of_normal + weight * of_aberrant,
        (1 - weight[:, 0]) * gains[0] + weight[:, 0] * gains[1],
    )


def _expect(evidence: np.ndarray, kinds: Kinds) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Probability of being aberrant, and of each count if normal and if aberrant."""
    of_normal, of_aberrant = evidence * kinds.normal, evidence * kinds.aberrant
    if_normal, if_aberrant = (
        np.maximum(of.sum(axis=2, keepdims=True), _SMALLEST) for of in (of_normal, of_aberrant)
    )
    odds = np.log(if_aberrant / if_normal).sum(axis=(1, 2))
    odds += np.log(kinds.share / (1 - kinds.share))
    aberrant = 1 / (1 + np.exp(-np.clip(odds, -_FARTHEST, _FARTHEST)))
    return aberrant, of_normal / if_normal, of_aberrant / if_aberrant


def _gains(gain: np.ndarray) -> np.ndarray:
    """Probability of 0, 1, … p gains from that of each probe, all independent."""
    many = np.zeros((len(gain), gain.shape[1] + 1))
    many[:, 0] = 1
    for column in gain.T:
        many[:, 1:] = many[:, 1:] * (1 - column[:, None]) + many[:, :-1] * column[:, None]
        many[:, 0] *= 1 - column
    return many
