"""From signal counts to the state of each probe and one FISH call a nucleus."""

from collections.abc import Mapping, Sequence

import numpy as np

from cellsieve.signal_counts import NORMAL_COUNT, ProbeCounts


def probe_states(counted: ProbeCounts, readable: np.ndarray, assessable: np.ndarray) -> np.ndarray:
    """State of one probe in each nucleus.

    Parameters
    ----------
    counted : ProbeCounts
    readable : ndarray, (n,), bool
        Nuclei of fields that have the probe.
    assessable : ndarray, (n,), bool
        Whole nuclei that overlap no other.

    Returns
    -------
    ndarray, (n,), object
        ``loss``, ``normal`` or ``gain``; ``failed`` wherever the probe failed
        on this slide; None where no state can be had.
    """
    states = np.full(len(readable), None, object)
    if counted.status == "failed":
        states[readable] = "failed"
    elif counted.status == "ok":
        judged = assessable & ~np.isnan(counted.counts)
        states[judged & (counted.counts < NORMAL_COUNT)] = "loss"
        states[judged & (counted.counts == NORMAL_COUNT)] = "normal"
        states[judged & (counted.counts > NORMAL_COUNT)] = "gain"
    return states


def fish_calls(states: Sequence[np.ndarray], n: int, min_gain_probes: int) -> np.ndarray:
    """One call a nucleus from the states of its probes.

    Parameters
    ----------
    states : sequence of ndarray, (n,), object
        What `probe_states` returned for each probe.
    n : int
        Number of nuclei.
    min_gain_probes : int
        Gains that make a circulating genetically aberrant cell.

    Returns
    -------
    ndarray, (n,), object
        ``cac`` with that many gains, else ``gain`` or ``loss`` when there is
        any, ``normal`` when there is none, ``not_assessable`` where no probe
        has a state.
    """
    gains, losses, normals = (_how_many(states, state, n) for state in ("gain", "loss", "normal"))
    conditions = [gains >= min_gain_probes, gains > 0, losses > 0, normals > 0]
    calls = np.select(conditions, ["cac", "gain", "loss", "normal"], "not_assessable")
    return calls.astype(object)


def changed_probes(states: Mapping[str, np.ndarray], state: str) -> np.ndarray:
    """Names of the probes that are in a state, ``"aqua, green"``; "" where none is."""
    n = len(next(iter(states.values()), ()))
    names = np.full(n, "", object)
    for probe, of_probe in states.items():
        there = of_probe == state
        names[there] = np.where(names[there] == "", probe, names[there] + f", {probe}")
    return names


def _how_many(states: Sequence[np.ndarray], state: str, n: int) -> np.ndarray:
    return sum((of_probe == state for of_probe in states), np.zeros(n, np.int64))
