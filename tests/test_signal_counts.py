"""What counts as a signal, and the evidence for each count."""

import numpy as np
import pandas as pd
from call_runs import spots

from cellsieve.fish.artefacts import in_clumps, in_several_probes
from cellsieve.fish.fish_calls import call_fish
from cellsieve.fish.signal_counts import Nuclei, count_probe, loci


def test_light_in_three_probes_at_one_place_is_no_signal():
    found = pd.DataFrame(
        [("aqua", 10.0, 10.0), ("gold", 10.5, 10.4), ("red", 9.6, 10.0),  # dirt
         ("aqua", 40.0, 40.0), ("gold", 40.0, 40.5),  # neighbours on a chromosome
         ("aqua", 70.0, 70.0), ("aqua", 70.5, 70.0), ("gold", 70.0, 70.0),  # split
         ("red", 90.0, 90.0), ("aqua", 93.0, 90.0), ("gold", 90.0, 93.0)],  # merely close
        columns=["probe", "y_px", "x_px"],
    ).assign(size_px=3.0)  # fmt: skip
    assert in_several_probes(found).tolist() == [True] * 3 + [False] * 8
    assert in_several_probes(found[:0]).tolist() == []


def test_a_clump_shines_at_three_places_in_three_probes():
    places = {1: [10, 20, 30], 2: [10], 3: [10, 20, 30], 4: [10, 20]}
    rows = [
        (probe, cell, 30.0 * cell, x, 3.0 if (cell, probe, x) == (3, "red", 30) else 9.0)
        for cell, at in places.items()
        for x in at
        for probe in ("aqua", "gold", "red")
    ]
    rows += [("aqua", 5, 200.0, x, 9.0) for x in (10, 20, 30)]  # signals
    rows += [(p, 0, 250.0, x, 9.0) for x in (10, 20, 30) for p in ("aqua", "gold", "red")]
    found = pd.DataFrame(rows, columns=["probe", "cell", "y_px", "x_px", "contrast"])
    found = found.assign(size_px=3.0)
    shining = in_several_probes(found)
    # the third spot of nucleus 3 is too weak in one probe
    assert in_clumps(found, shining).tolist() == [1]
    assert in_clumps(found.assign(contrast=9.0), shining).tolist() == [1, 3]
    assert in_clumps(found[:0], shining[:0]).tolist() == []


def test_split_signals_count_once():
    found = pd.DataFrame(
        [(0, 10.0, 10.0, 5.0), (0, 10.0, 12.9, 9.0), (0, 10.0, 15.8, 7.0), (0, 30.0, 10.0, 6.0),
         (1, 10.0, 10.0, 8.0)],
        columns=["nucleus", "y_px", "x_px", "contrast"],
    ).assign(height=1.0)  # fmt: skip
    joined = loci(found, 3.0).sort_values(["nucleus", "contrast"])
    assert joined["nucleus"].tolist() == [0, 0, 1]
    assert joined["contrast"].tolist() == [6.0, 9.0, 8.0]
    assert len(loci(found, 0.0)) == 5
    # a wider reach in the second nucleus alone
    twice = pd.concat([found, found.assign(nucleus=1)], ignore_index=True)
    reach = np.where(twice["nucleus"] == 1, 3.0, 2.0)
    assert loci(twice, reach)["nucleus"].value_counts().to_dict() == {0: 4, 1: 2}


def test_weak_signals_are_counted_where_most_nuclei_then_have_two():
    table = spots("aqua", [2] * 60)
    weak = table.index[table["contrast"] > 20][::5]
    table.loc[weak, "contrast"] = 15.0
    table["nucleus"] = table["cell"] - 1
    everything = np.ones(60, bool)
    nuclei = Nuclei(np.full(60, 500.0), everything, everything, everything)
    counted = count_probe(table, nuclei, 1.0, 1e6)
    assert counted.threshold < 15
    fish = call_fish({"aqua": counted}, everything, ~everything, ~everything, 2)
    assert set(fish.counts["aqua"]) == {2.0}


def test_what_may_be_halves_of_a_split_signal_is_no_certain_evidence_of_a_gain():
    """Signals 3 px wide: 4 px apart are two of them, but a tenth of the second nucleus is 5 px."""
    table = spots("aqua", [2] * 60)
    nearby = table[(table["contrast"] > 10) & table["cell"].isin([1, 2]) & (table["y_px"] == 0)]
    table = pd.concat([table, nearby.assign(x_px=4.0)], ignore_index=True)
    table["nucleus"] = table["cell"] - 1
    diameter = np.where(np.arange(60) == 1, 50, 30)
    everything = np.ones(60, bool)
    nuclei = Nuclei(np.pi * diameter**2 / 4, everything, everything, everything)
    # a third signal of the third nucleus may be another one's
    table.loc[len(table)] = {**table.iloc[0], "nucleus": 2, "y_px": 100.0, "shared": True}
    counted = count_probe(table, nuclei, 1.0, 1e6)
    assert counted.evidence.argmax(axis=1)[:4].tolist() == [3, 3, 3, 2]
    assert counted.cautious.argmax(axis=1)[:4].tolist() == [3, 2, 2, 2]
