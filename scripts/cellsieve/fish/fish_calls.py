"""From what the probes say of each nucleus to its counts, states and one FISH call."""

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from cellsieve.fish.aberration import FAINT, NORMAL_COUNT, Posterior, fit_kinds, judge
from cellsieve.fish.signal_counts import ProbeCounts

CERTAIN = 0.9  # least probability of the gains of a CAC
EXCLUDED = 0.0005  # below it a nucleus is none: third signals that are weak look like strays
# standard errors by which the strongest spots of a nucleus may be too weak, all probes together;
# further out signals may be lost unseen
FAINTEST = 4.5
# of the stronger of two signals, in standard deviations of the signals
_STRONGER = math.sqrt(1 / math.pi), math.sqrt(1 - 1 / math.pi)
FEWEST_PROBES = 2  # for a gain in all of them to be a sign of doubling


class FishCalls(NamedTuple):
    """Counts, states and calls of the nuclei of a slide.

    Attributes
    ----------
    counts : dict of str to ndarray, (n,), float64
        Most likely number of signals of each probe; NaN where it cannot be had.
    states : dict of str to ndarray, (n,), object
        ``loss``, ``normal`` or ``gain``; ``failed`` wherever the probe failed
        on this slide; None where no state can be had.
    call : ndarray, (n,), object
        ``cac``, ``gain``, ``loss``, ``normal`` or ``not_assessable``.
    doubt : ndarray, (n,), object
        Why the signals of a whole nucleus were not judged; "" where they were.
    decidable : ndarray, (n,), bool
        Assessable nuclei in which enough probes can be read to tell a CAC.
    """

    counts: dict[str, np.ndarray]
    states: dict[str, np.ndarray]
    call: np.ndarray
    doubt: np.ndarray
    decidable: np.ndarray


def call_fish(
    counted: Mapping[str, ProbeCounts],
    assessable: np.ndarray,
    doubled: np.ndarray,
    maybe_two: np.ndarray,
    min_gain_probes: int,
) -> FishCalls:
    """Count the signals of every nucleus and call those that can be assessed.

    Parameters
    ----------
    counted : mapping of str to ProbeCounts
    assessable : ndarray, (n,), bool
        Whole nuclei that overlap no other.
    doubled : ndarray, (n,), bool
        Nuclei whose DNA content is as that of two.
    maybe_two : ndarray, (n,), bool
        Nuclei that may be two by their outline or their light.
    min_gain_probes : int
        Gains that make a circulating genetically aberrant cell (CAC).

    Returns
    -------
    FishCalls
        A nucleus is a CAC when that many gains are certain, also without the
        spots that another nucleus may share or that may be the halves of one. It
        is not assessed when they are neither certain nor excluded, when the nucleus
        is a faint one, when there are gains and it may be two, or when it
        is doubled and so are all probes: cells before division, tetraploid ones
        and two nuclei in one outline look like that.
    """
    n = len(assessable)
    used = {name: c for name, c in counted.items() if c.status == "ok"}
    counts = {name: np.full(n, np.nan) for name in counted}
    states = {name: _failed(c, n) for name, c in counted.items()}
    judged = _judged(used, assessable)
    for name in counted.keys() - used.keys():
        counts[name] = _counts_alone(counted[name], assessable)
    if not used:
        nothing = np.zeros(n, bool)
        call = _calls(states, nothing, nothing)
        return FishCalls(counts, states, call, np.full(n, "", object), nothing)
    posterior, cautious = _posteriors(used, judged)
    for place, (name, c) in enumerate(used.items()):
        likely = posterior.counts[:, place].argmax(axis=1)
        counts[name] = np.where(c.readable, likely, np.nan)
    cac = posterior.gains[:, min_gain_probes:].sum(axis=1)
    without = cautious.gains[:, min_gain_probes:].sum(axis=1)
    gains = sum((counts[name] > NORMAL_COUNT for name in used), np.zeros(n, np.int64))
    certain = (cac >= CERTAIN) & (without >= CERTAIN) & (gains >= min_gain_probes)
    read = sum((c.readable for c in used.values()), np.zeros(n, np.int64))
    twice = judged & certain & doubled & (gains == read) & (read >= FEWEST_PROBES)
    faint = judged & ((posterior.kinds[:, FAINT] > 0.5) | (_strength(used) < -FAINTEST))
    doubt = _doubts(judged, faint, cac, certain)
    doubt[judged & certain & maybe_two] = "gains, but not clearly one nucleus"
    doubt[twice] = "gains in all probes and much DNA: two nuclei or a doubled genome"
    good = judged & (doubt == "")
    for name, c in used.items():
        states[name] = _states(counts[name], good & c.readable)
    call = _calls(states, good & certain, good)
    return FishCalls(counts, states, call, doubt, good & (read >= min_gain_probes))


def _doubts(
    judged: np.ndarray, faint: np.ndarray, cac: np.ndarray, certain: np.ndarray
) -> np.ndarray:
    """Say why the signals themselves are not judged, the weightiest reason last."""
    undecided = judged & ~certain & (cac > EXCLUDED)
    doubt = np.full(len(judged), "", object)
    doubt[faint] = "faint signals in all probes: out of focus or badly hybridised"
    doubt[judged & certain] = ""  # what is certain is not faint
    doubt[undecided] = "gains in doubt"
    doubt[undecided & (cac >= CERTAIN)] = "signals may be of a neighbour, or halves of split ones"
    return doubt


def changed_probes(states: Mapping[str, np.ndarray], state: str) -> np.ndarray:
    """Names of the probes that are in a state, ``"aqua, green"``; "" where none is."""
    n = len(next(iter(states.values()), ()))
    names = np.full(n, "", object)
    for probe, of_probe in states.items():
        there = of_probe == state
        names[there] = _joined(names[there], probe)
    return names


def _joined(texts: np.ndarray, more: str) -> np.ndarray:
    return np.where(texts == "", more, texts + f", {more}")


def _judged(used: Mapping[str, ProbeCounts], assessable: np.ndarray) -> np.ndarray:
    """Whole nuclei of fields that have a probe that passed its check."""
    readable = [c.readable for c in used.values()]
    return assessable & np.any([np.zeros(len(assessable), bool), *readable], axis=0)


def _counts_alone(counted: ProbeCounts, assessable: np.ndarray) -> np.ndarray:
    """Most likely counts by a probe alone, which no call rests on; NaN without evidence."""
    if counted.evidence is None:
        return np.full(len(assessable), np.nan)
    likely = _posteriors({"": counted}, assessable & counted.readable)[0].counts[:, 0]
    return np.where(counted.readable, likely.argmax(axis=1), np.nan)


def _posteriors(used: Mapping[str, ProbeCounts], judged: np.ndarray) -> tuple[Posterior, Posterior]:
    """Of all spots, and of those that are surely signals of their own in this nucleus."""
    evidence, cautious = (
        np.stack([getattr(c, of) for c in used.values()], axis=1) for of in ("evidence", "cautious")
    )
    kinds = fit_kinds(evidence[judged])
    return judge(evidence, kinds), judge(cautious, kinds)


def _strength(used: Mapping[str, ProbeCounts]) -> np.ndarray:
    """Strongest spots in standard errors of their mean over the probes that can be read."""
    readable = np.stack([c.readable for c in used.values()])
    strength = (np.stack([c.strength for c in used.values()]) - _STRONGER[0]) / _STRONGER[1]
    return (strength * readable).sum(axis=0) / np.sqrt(np.maximum(readable.sum(axis=0), 1))


def _failed(counted: ProbeCounts, n: int) -> np.ndarray:
    states = np.full(n, None, object)
    if counted.status == "failed":
        states[counted.readable] = "failed"
    return states


def _states(counts: np.ndarray, good: np.ndarray) -> np.ndarray:
    states = np.full(len(counts), None, object)
    states[good & (counts < NORMAL_COUNT)] = "loss"
    states[good & (counts == NORMAL_COUNT)] = "normal"
    states[good & (counts > NORMAL_COUNT)] = "gain"
    return states


def _calls(states: Mapping[str, np.ndarray], cac: np.ndarray, good: np.ndarray) -> np.ndarray:
    gain, loss = (
        np.any([of == state for of in states.values()], axis=0) for state in ("gain", "loss")
    )
    conditions = [~good, cac, gain, loss]
    calls = np.select(conditions, ["not_assessable", "cac", "gain", "loss"], "normal")
    return calls.astype(object)
