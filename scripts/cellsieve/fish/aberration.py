"""How many signals each nucleus has, judged from all probes together.

Nuclei of a slide are of three kinds. Most are normal: every probe has two
signals, or seems to have fewer where one did not hybridise. Some are faint:
out of focus or badly hybridised, so that signals are missing in any probe. A
few are aberrant, and any probe may have any number. The shares of the kinds
and the numbers that occur in them are estimated from the slide, beginning with
a few nuclei's worth of what is known beforehand. A third spot in one probe is
then most likely a stray one; clear third spots in two make an aberrant nucleus.

References
----------
Dempster, Laird & Rubin, J. R. Stat. Soc. B 39:1 (1977): the estimate.
"""

from typing import NamedTuple

import numpy as np

from cellsieve.fish.count_evidence import COUNTS

NORMAL_COUNT = 2
NORMAL, FAINT, ABERRANT = range(3)
# nuclei thought of beforehand: of each kind, and with 0, 1, … 8 signals in each
_SHARES = np.array([9.4, 0.3, 0.3])
_NUMBERS = np.array(
    [
        [0.1, 1, 98.9, 0, 0, 0, 0, 0, 0],
        [9, 6, 5, 0, 0, 0, 0, 0, 0],
        [1, 4, 7, 4, 2, 1, 0.4, 0.4, 0.2],
    ]
)
_ITERATIONS = 200
_TOLERANCE = 1e-6
_SMALLEST = 1e-300  # keeps logarithms finite


class Kinds(NamedTuple):
    """What the nuclei of a slide are like.

    Attributes
    ----------
    shares : ndarray, (3,), float64
        Of normal, faint and aberrant nuclei.
    numbers : ndarray, (3, p, 9), float64
        How often a nucleus of each kind has 0, 1, … 8 signals of each probe;
        all probes are alike in faint and in aberrant nuclei.
    """

    shares: np.ndarray
    numbers: np.ndarray


class Posterior(NamedTuple):
    """What is to be believed of each nucleus.

    Attributes
    ----------
    kinds : ndarray, (n, 3), float64
        Probability of being normal, faint and aberrant.
    counts : ndarray, (n, p, 9), float64
        Probability of 0, 1, … 8 signals of each probe.
    gains : ndarray, (n, p + 1), float64
        Probability that exactly 0, 1, … p probes have more than two.
    """

    kinds: np.ndarray
    counts: np.ndarray
    gains: np.ndarray


def fit_kinds(evidence: np.ndarray) -> Kinds:
    """Estimate the kinds of nuclei of a slide.

    Parameters
    ----------
    evidence : ndarray, (n, p, 9), float64
        Likelihood of each count, of whole nuclei; see `count_evidence`.
    """
    numbers = _NUMBERS / _NUMBERS.sum(axis=1, keepdims=True)
    kinds = Kinds(_SHARES / _SHARES.sum(), np.repeat(numbers[:, None], evidence.shape[1], axis=1))
    for _ in range(_ITERATIONS):
        of_kind, counts = _expect(evidence, kinds)
        shares = of_kind.sum(axis=0) + _SHARES
        seen = np.einsum("nk,nkpc->kpc", of_kind, counts)
        seen[[FAINT, ABERRANT]] = seen[[FAINT, ABERRANT]].sum(axis=1, keepdims=True)
        seen += _NUMBERS[:, None]
        previous = kinds
        kinds = Kinds(shares / shares.sum(), seen / seen.sum(axis=2, keepdims=True))
        if np.abs(kinds.shares - previous.shares).max() < _TOLERANCE:
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
    of_kind, counts = _expect(evidence, kinds)
    gains = _gains(counts[..., COUNTS > NORMAL_COUNT].sum(axis=-1))
    return Posterior(
        of_kind,
        np.einsum("nk,nkpc->npc", of_kind, counts),
        np.einsum("nk,nkg->ng", of_kind, gains),
    )


def _expect(evidence: np.ndarray, kinds: Kinds) -> tuple[np.ndarray, np.ndarray]:
    """Probability of each kind, (n, 3), and of each count in each kind, (n, 3, p, 9)."""
    counts = evidence[:, None] * kinds.numbers
    total = np.maximum(counts.sum(axis=-1, keepdims=True), _SMALLEST)
    likelihood = np.log(total[..., 0]).sum(axis=-1) + np.log(kinds.shares)
    of_kind = np.exp(likelihood - likelihood.max(axis=1, keepdims=True))
    return of_kind / of_kind.sum(axis=1, keepdims=True), counts / total


def _gains(gain: np.ndarray) -> np.ndarray:
    """Probability of 0, 1, … p gains from that of each probe, (…, p), all independent."""
    many = np.zeros((*gain.shape[:-1], gain.shape[-1] + 1))
    many[..., 0] = 1
    for probe in range(gain.shape[-1]):
        own = gain[..., probe, None]
        many[..., 1:] = many[..., 1:] * (1 - own) + many[..., :-1] * own
        many[..., 0] *= 1 - own[..., 0]
    return many
