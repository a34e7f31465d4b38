"""Calls of a slide, from tables whose truth is known."""

import json

import numpy as np
import pandas as pd
import pytest
from call_runs import (
    call,
    command_line,
    measured,
    scores,
    spots,
    write_field,
)
from PIL import Image

from cellsieve.cell_table import call_columns, cell_columns, cell_table
from cellsieve.tables import ANOMALY, MEASUREMENTS, SIGNALS, read_table, write_table


@pytest.fixture
def slide(tmp_path):
    """Forty nuclei in two fields; the first is aberrant, others odd in one way."""
    aqua, gold = np.full(30, 2), np.full(30, 2)
    aqua[:4], gold[:4] = (3, 4, 2, 2), (4, 2, 1, 2)
    one = write_field(
        tmp_path,
        "one",
        measured(30, border=[29], overlap=[30], touching=[28]),
        pd.concat([spots("aqua", aqua), spots("gold", gold, seed=1)]),
        scores(30, suspicious=[1]),
    )
    two = write_field(
        tmp_path,
        "two",
        measured(10),
        pd.concat([spots("aqua", [2] * 10, 2), spots("gold", [2] * 10, 3)]),
        scores(10),
        "flagged",
        ["out of focus"],
    )
    return tmp_path, [one, two]


def test_counts_states_and_calls(slide):
    folder, rows = slide
    calls, summary = call(folder, rows)
    assert set(calls.reset_index().columns) == set(call_columns(["aqua", "gold"]))
    assert calls.index.tolist() == [("one", c) for c in range(1, 31)] + [
        ("two", c) for c in range(1, 11)
    ]
    one = calls.loc["one"]
    assert one["aqua"].tolist()[:4] == [3, 4, 2, 2]
    assert one["gold_state"].tolist()[:4] == ["gain", "normal", "loss", "normal"]
    assert one["fish_call"].tolist()[:4] == ["cac", "gain", "loss", "normal"]
    assert one["call"].tolist()[:4] == ["suspicious", "normal", "normal", "normal"]
    assert one["reasons"].tolist()[:4] == [
        "anomaly_q 0.019; gain in aqua, gold", "gain in aqua", "loss in gold", "",
    ]  # fmt: skip
    assert summary["nuclei"] == 40
    assert (summary["assessable"], summary["assessable_fish"]) == (38, 37)
    assert summary["assessable_cac"] == 37
    assert (summary["suspicious"], summary["cac"]) == (1, 1)
    assert summary["fields"]["one"]["cac"] == 1
    assert summary["probes"]["aqua"]["status"] == "ok"
    assert summary["patient"] == "NA"
    assert Image.open(folder / "slide.png").size[0] > 300


def test_nucleus_that_is_not_whole_keeps_its_count_and_is_not_called(slide):
    folder, rows = slide
    calls, _ = call(folder, rows)
    for cell, reason in ((29, "touches the border"), (30, "overlaps another nucleus")):
        row = calls.loc["one", cell]
        assert (row["call"], row["fish_call"]) == ("not_assessable", "not_assessable")
        assert (row["aqua"], row["reasons"]) == (2, reason)
        assert pd.isna(row["aqua_state"])
        assert np.isnan(row["anomaly_q"])


def test_nucleus_that_touches_another_is_judged_by_its_shape_alone(slide):
    folder, rows = slide
    row = call(folder, rows)[0].loc["one", 28]
    assert (row["call"], row["fish_call"], row["aqua"]) == ("normal", "not_assessable", 2)
    assert row["reasons"] == "signals not judged: touches another nucleus"


def test_flag_of_the_field_is_a_reason(slide):
    folder, rows = slide
    calls, _ = call(folder, rows)
    assert set(calls.loc["two"]["reasons"]) == {"field: out of focus"}


def test_more_gains_can_be_asked_for(slide):
    folder, rows = slide
    calls, _ = call(folder, rows, "--min-gain-probes", "3")
    assert calls.loc["one", 1]["fish_call"] == "gain"
    done = command_line(folder, rows, "--min-gain-probes", "0")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == "error: --min-gain-probes 0: at least 1"


def test_same_input_same_bytes(slide):
    folder, rows = slide
    names = ("calls.parquet", "slide.json", "slide.png")
    assert command_line(folder, rows).returncode == 0
    first = [(folder / n).read_bytes() for n in names]
    call(folder, rows)
    assert [(folder / n).read_bytes() for n in names] == first


def test_probe_without_its_two_signals_fails(tmp_path):
    signals = pd.concat([spots("aqua", [1] * 30), spots("gold", [2] * 30, 1)])
    row = write_field(tmp_path, "one", measured(30), signals, scores(30))
    calls, summary = call(tmp_path, [row])
    assert summary["probes"]["aqua"]["status"] == "failed"
    assert "1 signals, not 2" in summary["probes"]["aqua"]["reason"]
    assert set(calls["aqua_state"]) == {"failed"}
    assert calls["aqua"].isna().all()
    assert (calls["fish_call"] == "normal").sum() >= 29  # gold alone; one may be a faint nucleus


def test_noise_alone_fails(tmp_path):
    signals = pd.concat([spots("aqua", [0] * 60), spots("gold", [2] * 60, 1)])
    row = write_field(tmp_path, "one", measured(60), signals, scores(60))
    calls, summary = call(tmp_path, [row])
    assert summary["probes"]["aqua"]["status"] == "failed"
    assert set(calls["aqua_state"]) == {"failed"}


def test_probe_that_a_field_lacks_is_empty_there(slide):
    folder, rows = slide
    write_table(folder / "two.s", spots("gold", [2] * 10, 3), SIGNALS)
    calls, summary = call(folder, rows, probes=("aqua", "gold", "red"))
    assert summary["probes"]["red"]["status"] == "missing"
    assert calls.loc["two"]["aqua"].isna().all()
    assert calls.loc["two"]["aqua_state"].isna().all()
    assert calls.loc["one"]["aqua"].notna().all()
    assert calls["red"].isna().all()
    assert calls["red_state"].isna().all()
    # one probe is left there, and a CAC needs gains in two
    counted = summary["fields"]["two"]
    assert (counted["assessable_fish"], counted["assessable_cac"]) == (10, 0)
    assert summary["cac_rate"]["rate"] == 1 / summary["fields"]["one"]["assessable_cac"]


def test_stray_signals_are_sought_where_the_probe_is(slide):
    """The same strays on half as many pixels are twice as dense."""
    folder, rows = slide
    stray = spots("aqua", [2] * 30).head(40).assign(cell=0, contrast=50.0)
    found = pd.concat([read_table(folder / "one.s"), stray])
    write_table(folder / "one.s", found, SIGNALS)
    whole = call(folder, rows)[1]["probes"]["aqua"]
    write_table(folder / "two.s", spots("gold", [2] * 10, 3), SIGNALS)
    half = call(folder, rows)[1]["probes"]["aqua"]
    assert whole["signals_outside"] == half["signals_outside"] == 40
    ratio = half["background_per_nucleus"] / whole["background_per_nucleus"]
    assert ratio == pytest.approx(2, rel=0.1)


def test_few_nuclei_are_counted_and_not_judged(tmp_path):
    row = write_field(tmp_path, "one", measured(12), spots("aqua", [2] * 12), scores(12))
    calls, summary = call(tmp_path, [row], probes=("aqua",))
    assert summary["probes"]["aqua"]["status"] == "unchecked"
    assert set(calls["aqua"]) == {2}
    assert calls["aqua_state"].isna().all()
    assert set(calls["reasons"]) == {"no probe can be judged"}


def test_without_reference_nuclei_are_ranked(tmp_path):
    anomaly = scores(30, suspicious=[7], p=False)
    row = write_field(tmp_path, "one", measured(30), spots("aqua", [2] * 30), anomaly)
    calls, summary = call(tmp_path, [row], probes=())
    assert calls["anomaly_q"].isna().all()
    assert calls.index[calls["call"] == "suspicious"].tolist() == [("one", 7)]
    assert "no reference" in calls.loc["one", 7]["reasons"]
    assert summary["anomaly"]["called_by"] == "z"
    assert any("no reference" in note for note in summary["notes"])
    assert set(calls["fish_call"]) == {"not_assessable"}
    assert calls.loc["one", 8]["reasons"] == ""


def test_without_scores_nothing_is_called(tmp_path):
    anomaly = scores(30).assign(anomaly_score=np.nan, anomaly_p=np.nan)
    row = write_field(tmp_path, "one", measured(30), spots("aqua", [2] * 30), anomaly)
    calls, summary = call(tmp_path, [row], probes=("aqua",))
    assert set(calls["call"]) == {"not_assessable"}
    assert set(calls["reasons"]) == {"no anomaly score"}
    assert set(calls["fish_call"]) == {"normal"}
    assert (summary["assessable"], summary["assessable_fish"]) == (0, 30)
    assert summary["assessable_cac"] == 0  # one probe tells no CAC
    assert summary["suspicious_rate"] == {"rate": None, "low": None, "high": None}


def test_too_little_calibration_is_said(tmp_path):
    anomaly = scores(30).assign(anomaly_p=[1 / 101] + [0.5] * 29)
    row = write_field(tmp_path, "one", measured(30), spots("aqua", [2] * 30), anomaly)
    record = tmp_path / "record.json"
    record.write_text(json.dumps({"calibration": 100, "notes": ["one field"]}), encoding="utf-8")
    calls, summary = call(tmp_path, [row], "--reference", record, probes=())
    assert calls.loc["one", 1]["call"] == "normal"
    assert "beyond all 100 calibration nuclei" in calls.loc["one", 1]["reasons"]
    assert calls.loc["one", 2]["reasons"] == ""
    assert summary["notes"][-1] == "one field"
    assert summary["anomaly"]["calibration_nuclei"] == 100
    assert summary["anomaly"]["rarest_callable_fraction"] == pytest.approx(1 / 101 / 0.1)


def test_calibration_that_cannot_call_anything_is_said(tmp_path):
    anomaly = scores(30).assign(anomaly_p=[1 / 6] + [0.5] * 29)
    row = write_field(tmp_path, "one", measured(30), spots("aqua", [2] * 30), anomaly)
    record = tmp_path / "record.json"
    record.write_text(json.dumps({"calibration": 5}), encoding="utf-8")
    calls, summary = call(tmp_path, [row], "--reference", record, probes=())
    assert calls.loc["one", 1]["reasons"].endswith("too few to call any")
    # with 9 the smallest p is 0.1: a slide of nothing but such nuclei can be called
    assert "at least 9 are needed" in summary["notes"][0]


def test_the_dynamic_threshold_is_a_choice(slide):
    folder, rows = slide
    calls, summary = call(folder, rows, "--threshold", "dynamic")
    assert calls.index[calls["call"] == "suspicious"].tolist() == [("one", 1)]
    limit = summary["anomaly"]["limit"]
    assert f"anomaly_score 30.00, dynamic threshold {limit:.2f}" in calls.loc["one", 1]["reasons"]
    assert summary["anomaly"]["called_by"] == "dynamic"
    assert summary["anomaly"]["rarest_callable_fraction"] is None
    assert any("no error rate" in note for note in summary["notes"])
    assert calls.loc["one", 1]["anomaly_q"] == pytest.approx(0.019)


def shift(folder, name):
    """Rewrite a field's scores as those of a field unlike the reference."""
    table = read_table(folder / f"{name}.a").assign(anomaly_p=np.nan)
    table["anomaly_score"] += 40
    write_table(folder / f"{name}.a", table, ANOMALY, ["unusual area: +4.1 robust SD"])


def test_a_field_unlike_the_reference_gets_no_q(slide):
    folder, rows = slide
    shift(folder, "two")
    record = folder / "record.json"
    record.write_text(json.dumps({"calibration": 2000}), encoding="utf-8")
    calls, summary = call(folder, rows, "--reference", record)
    two = calls.loc["two"]
    assert two["anomaly_q"].isna().all()
    assert set(two["call"]) == {"not_assessable"}
    assert set(two["fish_call"]) == {"normal"}
    assert set(two["reasons"]) == {
        "field: out of focus, unusual area: +4.1 robust SD; no q: the field is unlike the reference"
    }
    # 28 whole nuclei in the test: 0.0005 · 28
    assert calls.loc["one", 1]["anomaly_q"] == pytest.approx(0.014)
    assert calls.loc["one", 1]["call"] == "suspicious"
    assert "two: unusual area: +4.1 robust SD" in summary["notes"]


def test_a_slide_unlike_the_reference_is_ranked_by_z(slide):
    folder, rows = slide
    for name in ("one", "two"):
        shift(folder, name)
    record = folder / "record.json"
    record.write_text(json.dumps({"calibration": 2000}), encoding="utf-8")
    calls, summary = call(folder, rows, "--reference", record)
    assert calls.index[calls["call"] == "suspicious"].tolist() == [("one", 1)]
    assert "unlike the reference: ranked by anomaly_z" in calls.loc["one", 1]["reasons"]
    assert summary["anomaly"]["called_by"] == "z"
    assert any("no field is like the reference" in note for note in summary["notes"])


def test_slide_of_rejected_fields_is_valid_and_empty(tmp_path):
    empty = [pd.DataFrame(columns=list(c)) for c in (MEASUREMENTS, SIGNALS, ANOMALY)]
    row = write_field(tmp_path, "one", *empty, "rejected", ["truncated"])
    calls, summary = call(tmp_path, [row])
    assert len(calls) == 0
    assert str(calls["aqua"].dtype) == "Int64"
    assert summary["nuclei"] == 0
    assert summary["fields"]["one"]["status"] == "rejected"
    assert summary["probes"]["aqua"]["status"] == "missing"


def test_two_slides_at_once_are_refused(slide):
    folder, rows = slide
    rows[1][1] = "s2"
    done = command_line(folder, rows)
    assert done.returncode == 2
    assert "one slide is called at a time" in done.stderr


def test_signals_under_something_else_are_not_judged(slide):
    """Nuclei 26 and 27 look as the aberrant one does, but for what lies over them."""
    folder, _ = slide
    aqua, gold = np.full(30, 2), np.full(30, 2)
    aqua[[0, 25, 26]], gold[[0, 25, 26]] = 3, 4
    clump = pd.DataFrame(
        [(probe, 26, 60.0, x) for x in (0.0, 20.0, 40.0) for probe in ("aqua", "gold", "red")],
        columns=["probe", "cell", "y_px", "x_px"],
    ).assign(size_px=3.0, contrast=40.0, height=400.0, shared=False)
    found = pd.concat([spots("aqua", aqua), spots("gold", gold, seed=1), clump[list(SIGNALS)]])
    row = write_field(folder, "one", measured(30, covered=[27]), found, scores(30))
    one = call(folder, [row])[0].loc["one"]
    assert one["fish_call"].tolist()[0] == "cac"
    assert one["fish_call"].tolist()[25:27] == ["not_assessable"] * 2
    assert one["call"].tolist()[25:27] == ["normal"] * 2
    assert one["reasons"].tolist()[25:27] == [
        "signals not judged: a clump on it glows in several probes",
        "signals not judged: a part is too bright: something may lie over it",
    ]


def test_a_channel_of_hot_pixels_fails_alone(tmp_path):
    """What is sharper than a point has size 0."""
    hot = spots("gold", [5] * 30).assign(size_px=0.0)
    found = pd.concat([spots("aqua", [2] * 30), hot], ignore_index=True)
    row = write_field(tmp_path, "one", measured(30), found, scores(30))
    calls, summary = call(tmp_path, [row])
    assert (summary["probes"]["aqua"]["status"], summary["probes"]["gold"]["status"]) == (
        "ok",
        "failed",
    )
    assert set(calls["aqua_state"]) == {"normal"}


@pytest.mark.parametrize(
    ("column", "value", "reason"),
    [
        ("solidity", 0.93, "gains, but not clearly one nucleus"),
        ("bright_part", 1.46, "gains, but not clearly one nucleus"),
        ("dapi_sum", 2e5, "gains in all probes and much DNA: two nuclei or a doubled genome"),
    ],
)
def test_gains_of_what_looks_like_two_nuclei_are_not_called(tmp_path, column, value, reason):
    nuclei = measured(40).assign(solidity=0.97, dapi_sum=1e5)
    counts = [3, 3, *[2] * 38]
    found = pd.concat([spots(p, counts, seed) for seed, p in enumerate(("aqua", "gold"))])
    nuclei.loc[0, column] = value
    row = write_field(tmp_path, "one", nuclei, found, scores(40))
    calls = call(tmp_path, [row])[0].loc["one"]
    assert calls["fish_call"].tolist()[:3] == ["not_assessable", "cac", "normal"]
    assert reason in calls.loc[1, "reasons"]


def test_cell_table_joins_in_order(slide):
    folder, rows = slide
    calls, _ = call(folder, rows)
    measurements = read_table(folder / "two.m")
    table = cell_table(
        "two", "s1", None, measurements, calls.reset_index(), probes=("aqua", "gold")
    )
    assert list(table.columns) == cell_columns(["aqua", "gold"])
    assert table["cell"].tolist() == list(range(1, 11))
    with pytest.raises(ValueError, match="not of the nuclei"):
        cell_table(
            "two", "s1", None, measurements[:9], calls.reset_index(), probes=("aqua", "gold")
        )


def test_fragments_are_not_called(tmp_path):
    nuclei = measured(30)
    nuclei.loc[0, "area_px"] = nuclei["area_px"].median() / 4
    row = write_field(tmp_path, "one", nuclei, spots("aqua", [2] * 30), scores(30))
    calls, summary = call(tmp_path, [row])
    assert calls.loc["one", 1]["call"] == calls.loc["one", 1]["fish_call"] == "not_assessable"
    assert "fragment" in calls.loc["one", 1]["reasons"]
    assert summary["assessable"] == 29
