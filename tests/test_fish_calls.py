"""From what the probes say of each nucleus to its states and its call."""

import numpy as np

from cellsieve.fish.fish_calls import call_fish
from cellsieve.fish.signal_counts import ProbeCounts

NEVER = np.zeros(100, bool)


def says(*counts, sure=1e6, status="ok"):
    """What a probe says when each nucleus has one likely count."""
    n = len(counts)
    evidence = np.ones((n, 9))
    evidence[np.arange(n), counts] = sure
    everything = np.ones(n, bool)
    strength = np.full(n, 0.5)
    return ProbeCounts(status, "", 5.0, 3.0, 0.9, 0, everything, evidence, evidence, strength)


def test_fish_calls_by_hand():
    normal = [2] * 30
    counted = {"aqua": says(3, 4, 1, 2, *normal), "gold": says(4, 2, 2, 2, *normal)}
    fish = call_fish(counted, np.ones(34, bool), NEVER[:34], NEVER[:34], 2)
    assert fish.call[:5].tolist() == ["cac", "gain", "loss", "normal", "normal"]
    assert fish.states["aqua"][:4].tolist() == ["gain", "gain", "loss", "normal"]
    assert fish.counts["gold"][:4].tolist() == [4, 2, 2, 2]
    assert set(fish.doubt) == {""}
    assert call_fish(counted, np.ones(34, bool), NEVER[:34], NEVER[:34], 1).call[1] == "cac"
    assert (
        call_fish(counted, np.arange(34) != 0, NEVER[:34], NEVER[:34], 2).call[0]
        == "not_assessable"
    )
    assert set(call_fish({}, np.ones(2, bool), NEVER[:2], NEVER[:2], 2).call) == {"not_assessable"}


def test_an_unchecked_probe_is_counted_and_adds_no_gain():
    counted = {"aqua": says(3, *[2] * 30), "gold": says(4, *[2] * 30)}
    assert call_fish(counted, np.ones(31, bool), NEVER[:31], NEVER[:31], 2).call[0] == "cac"
    counted["gold"] = counted["gold"]._replace(status="unchecked")
    fish = call_fish(counted, np.ones(31, bool), NEVER[:31], NEVER[:31], 2)
    assert fish.call[0] == "gain"
    assert fish.counts["gold"][0] == 4
    assert set(fish.states["gold"]) == {None}
    assert not fish.decidable.any()


def test_gain_of_a_single_probe_needs_more_than_a_third_spot():
    # three rather than two by ten to one: in most slides that is a stray spot
    counted = {p: says(*[2] * 40) for p in ("aqua", "gold")}
    for of_probe in counted.values():
        of_probe.evidence[0] = [0, 0, 1, 10, 0, 0, 0, 0, 0]
    alone = call_fish(
        counted | {"gold": says(*[2] * 40)}, np.ones(40, bool), NEVER[:40], NEVER[:40], 2
    )
    assert (alone.counts["aqua"][0], alone.call[0]) == (2, "normal")
    both = call_fish(counted, np.ones(40, bool), NEVER[:40], NEVER[:40], 2)
    assert (both.call[0], both.doubt[0]) == ("not_assessable", "gains in doubt")


def test_gain_that_rests_on_spots_beside_a_neighbour_is_not_called():
    counted = {p: says(3, *[2] * 40) for p in ("aqua", "gold")}
    counted["gold"] = counted["gold"]._replace(cautious=says(*[2] * 41).evidence)
    fish = call_fish(counted, np.ones(41, bool), NEVER[:41], NEVER[:41], 2)
    assert (fish.call[0], fish.doubt[0]) == (
        "not_assessable",
        "signals may be of a neighbour, or halves of split ones",
    )
    assert fish.states["aqua"][0] is None
    assert fish.counts["gold"][0] == 3


def test_gains_of_what_may_be_two_nuclei_are_not_called():
    counted = {p: says(3, 2, *[2] * 40) for p in ("aqua", "green", "gold")}
    counted["gold"] = says(*[2] * 42)
    unclear = np.arange(42) < 2
    fish = call_fish(counted, np.ones(42, bool), NEVER[:42], unclear, 2)
    assert fish.call[:2].tolist() == ["not_assessable", "normal"]
    assert fish.doubt[:2].tolist() == ["gains, but not clearly one nucleus", ""]


def test_gain_in_all_probes_of_a_doubled_nucleus_is_not_called():
    counted = {p: says(4, 4, 4, *[2] * 40) for p in ("aqua", "green", "gold")}
    counted["gold"] = says(4, 4, 2, *[2] * 40)
    doubled = np.arange(43) != 0
    fish = call_fish(counted, np.ones(43, bool), doubled, NEVER[:43], 2)
    assert fish.call[:4].tolist() == ["cac", "not_assessable", "cac", "normal"]
    assert fish.doubt[1] == "gains in all probes and much DNA: two nuclei or a doubled genome"
    # of two probes, too; a gain in the only one makes no CAC
    both = {p: counted[p] for p in ("aqua", "green")}
    assert call_fish(both, np.ones(43, bool), doubled, NEVER[:43], 2).call[1] == "not_assessable"
    assert (
        call_fish({"aqua": counted["aqua"]}, np.ones(43, bool), doubled, NEVER[:43], 2).call[1]
        == "gain"
    )


def test_faint_nuclei_are_not_assessed():
    counted = {p: says(*[0] * 10, *[2] * 90) for p in ("aqua", "green", "gold")}
    fish = call_fish(counted, np.ones(100, bool), NEVER, NEVER, 2)
    assert set(fish.call[:10]) == {"not_assessable"}
    assert all(text.startswith("faint signals in all probes") for text in fish.doubt[:10])
    assert set(fish.call[10:]) == {"normal"}
    for probe in counted.values():  # all have their two signals, those of one barely seen
        probe.strength[20] = -1.7  # (−1.7 − 0.564) / 0.826 · √3 = −4.7
        probe.strength[21] = -1.5  # −4.3
    dim = call_fish(counted, np.ones(100, bool), NEVER, NEVER, 2)
    assert (dim.call[20], dim.call[21]) == ("not_assessable", "normal")
    assert dim.doubt[20].startswith("faint signals in all probes")
