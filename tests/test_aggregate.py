"""The tables of a run, by the command line."""

import json
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from cellsieve.tables import ANOMALY, write_table

SCRIPT = Path(__file__).parents[1] / "scripts" / "aggregate.py"
HEADER = ["field", "slide", "patient", "reference", "volume_ul", "x_site"]
HEADER += ["qc", "anomaly", "cells", "slide_summary"]
QC = {
    "status": "ok", "reasons": [], "shape": [100, 200], "pixel_size_um": 0.1,
    "diameter_px": 40.123456789, "focus": 1.5, "saturated_fraction": 0.0,
}  # fmt: skip
REJECTED = dict.fromkeys(QC) | {"status": "rejected", "reasons": ["truncated"]}


@pytest.fixture
def run(tmp_path):
    """Four fields: two of one slide, an empty one, a rejected one without a patient."""
    counts = {
        "a": {
            "nuclei": 10,
            "assessable": 8,
            "assessable_fish": 7,
            "assessable_cac": 7,
            "suspicious": 2,
            "cac": 1,
        },
        "b": {
            "nuclei": 5,
            "assessable": 5,
            "assessable_fish": 5,
            "assessable_cac": 5,
            "suspicious": 0,
            "cac": 0,
        },
    }
    none = dict.fromkeys(counts["a"], 0)
    summaries = {"s1": counts, "s2": {"c": none}, "s3": {"d": none}}
    for slide, fields in summaries.items():
        (tmp_path / f"{slide}.json").write_text(json.dumps({"fields": fields}))
    rows = []
    for field, slide, patient, qc in (
        ("a", "s1", "NA", QC),
        ("b", "s1", "NA", QC | {"status": "flagged", "reasons": ["out of focus"]}),
        ("c", "s2", "NA", QC | {"diameter_px": None}),
        ("d", "s3", "", REJECTED),
    ):
        (tmp_path / f"{field}.json").write_text(json.dumps(qc))
        n = counts.get(field, none)["nuclei"]
        lines = ["field,cell,reasons", *(f'{field},{i + 1},"é, ""x"""' for i in range(n))]
        (tmp_path / f"{field}.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
        notes = ["unusual diameter"] if field == "b" else []
        write_table(tmp_path / f"{field}.parquet", pd.DataFrame(), ANOMALY, notes)
        paths = [str(tmp_path / f"{field}.{suffix}") for suffix in ("json", "parquet", "csv")]
        volume = {"s1": "50", "s2": "150"}.get(slide, "")
        rows.append(
            [field, slide, patient, "no", volume, "site 1", *paths, str(tmp_path / f"{slide}.json")]
        )
    return tmp_path, rows


def aggregate(folder, rows, header=HEADER, more=(), probes=4):
    manifest = folder / "fields.tsv"
    manifest.write_text("".join("\t".join(r) + "\n" for r in (header, *rows)), encoding="utf-8")
    simulated = folder / "false_cac.json"
    known = {"cac": 0, "nuclei": 30_000, "probes": 4, "min_gain_probes": 2}
    simulated.write_text(json.dumps({**known, "split_diameters": 1.5}))
    command = [sys.executable, SCRIPT, "--fields", manifest, "--simulated-false-cac", simulated]
    command += ["--probes", str(probes), *more]
    for flag in ("cells", "fields-table", "slides", "patients"):
        command += [f"--{flag}", folder / "out" / f"{flag}.csv"]
    return subprocess.run([*map(str, command)], check=False, capture_output=True, text=True)


def table(folder, name):
    return pd.read_csv(folder / "out" / f"{name}.csv", keep_default_na=False, dtype=str)


def test_every_nucleus_once_in_the_order_of_the_sheet(run):
    folder, rows = run
    assert aggregate(folder, rows).returncode == 0
    cells = table(folder, "cells")
    assert cells["field"].tolist() == ["a"] * 10 + ["b"] * 5
    assert cells["cell"].tolist() == [str(i) for n in (10, 5) for i in range(1, n + 1)]
    assert set(cells["reasons"]) == {'é, "x"'}


def test_every_row_of_the_sheet_has_a_row(run):
    folder, rows = run
    aggregate(folder, rows)
    fields = table(folder, "fields-table").set_index("field")
    assert fields.index.tolist() == ["a", "b", "c", "d"]
    assert fields["status"].tolist() == ["ok", "flagged", "empty", "rejected"]
    assert fields["reason"].tolist() == [
        "",
        "out of focus; unusual diameter",
        "no nuclei",
        "truncated",
    ]
    assert fields["nuclei"].tolist() == ["10", "5", "0", ""]  # a rejected field has no count
    assert fields.loc["a", "diameter_px"] == "40.1235"
    assert fields.loc["c", "diameter_px"] == ""
    assert fields.loc["d", ["height_px", "pixel_size_um", "cac"]].tolist() == [""] * 3
    assert fields["height_px"].tolist() == ["100", "100", "100", ""]
    assert set(fields["x_site"]) == {"site 1"}
    assert list(table(folder, "fields-table").columns)[-1] == "x_site"


def test_more_probes_than_the_rate_was_measured_with_make_nobody_aberrant(run):
    folder, rows = run
    done = aggregate(folder, rows, probes=5, more=("--min-cac", "1", "--min-assessable", "50"))
    assert "the rate of false CACs is unknown" in done.stderr
    slides, patients = (table(folder, name) for name in ("slides", "patients"))
    assert set(slides["false_cac_expected"]) == set(patients["cac_p"]) == {""}
    assert set(patients["flag"]) == {"inconclusive"}


def test_slides_and_patients_are_sums(run):
    folder, rows = run
    aggregate(folder, rows)
    slides = table(folder, "slides").set_index("slide")
    assert slides.index.tolist() == ["s1", "s2", "s3"]
    assert slides.loc["s1", ["fields", "fields_ok", "fields_flagged"]].tolist() == ["2", "1", "1"]
    assert slides.loc["s1", ["nuclei", "assessable", "suspicious"]].tolist() == ["15", "13", "2"]
    assert slides.loc["s1", "suspicious_rate"] == "0.153846"
    # Wilson's interval of 1 in 12, worked out by hand: centre 0.18443, half width 0.16958
    assert float(slides.loc["s1", "cac_rate_low"]) == pytest.approx(0.01487, abs=1e-4)
    assert float(slides.loc["s1", "cac_rate_high"]) == pytest.approx(0.35388, abs=1e-4)
    assert slides.loc["s3", ["fields_rejected", "nuclei"]].tolist() == ["1", "0"]
    assert slides.loc["s3", ["cac_rate", "cac_rate_low"]].tolist() == ["", ""]
    patients = table(folder, "patients")
    assert patients["patient"].tolist() == ["NA"]  # a name, not a missing value
    assert patients.loc[0, ["slides", "fields", "fields_empty", "nuclei"]].tolist() == [
        "2", "3", "1", "15",
    ]  # fmt: skip


def test_every_table_has_its_schema_beside_it(run):
    folder, rows = run
    aggregate(folder, rows)
    for name in ("cells", "fields-table", "slides", "patients"):
        schema = json.loads((folder / "out" / f"{name}.schema.json").read_text(encoding="utf-8"))
        assert [f["name"] for f in schema["fields"]] == list(table(folder, name).columns)


def test_cacs_in_the_blood_and_false_ones(run):
    folder, rows = run
    aggregate(folder, rows)
    slides = table(folder, "slides").set_index("slide")
    assert slides["volume_ul"].tolist() == ["50", "150", ""]
    assert slides["cac_per_100ul"].tolist() == ["2", "0", ""]
    assert slides.loc["s1", "false_cac_measured_on"] == "simulated"
    assert slides.loc["s1", "false_cac_expected"] == "0"
    # the upper bound of none is −log 0.05 = 2.9957; 12 nuclei of 30,000
    assert float(slides.loc["s1", "false_cac_expected_high"]) == pytest.approx(0.0011983, rel=1e-4)
    assert "flag" not in slides
    patient = table(folder, "patients").loc[0]
    assert patient[["volume_ul", "cac_per_100ul", "flag"]].tolist() == [
        "200",
        "0.5",
        "inconclusive",
    ]


def test_flag_of_a_patient_follows_the_options(run):
    folder, rows = run
    aggregate(folder, rows, more=["--min-cac", "1"])
    patient = table(folder, "patients").loc[0]
    assert patient["flag"] == "aberrant"
    assert float(patient["cac_p"]) == pytest.approx(0.0011976, rel=1e-3)  # 1 − exp(−0.0011983)
    aggregate(folder, rows, more=["--min-assessable", "12"])
    assert table(folder, "patients").loc[0, "flag"] == "none found"


def test_volume_of_a_patient_is_empty_unless_all_slides_have_one(run):
    folder, rows = run
    rows[2][HEADER.index("volume_ul")] = ""
    aggregate(folder, rows)
    assert table(folder, "patients").loc[0, ["volume_ul", "cac_per_100ul"]].tolist() == ["", ""]


def test_run_without_patients_has_an_empty_patients_table(run):
    folder, rows = run
    aggregate(folder, [[*row[:2], "", *row[3:]] for row in rows])
    patients = table(folder, "patients")
    assert patients.empty
    assert {"patient", "nuclei", "cac_rate_high"} <= set(patients.columns)


def test_cells_with_other_columns_are_refused(run):
    folder, rows = run
    (folder / "b.csv").write_text("field,cell\nb,1\n")
    done = aggregate(folder, rows)
    assert done.returncode == 2
    assert "has other columns than" in done.stderr.splitlines()[-1]
    assert not (folder / "out" / "cells.csv").exists()


def test_missing_column_and_missing_file_are_one_line(run):
    folder, rows = run
    done = aggregate(folder, [r[:-1] for r in rows], HEADER[:-1])
    assert done.returncode == 2
    assert "no column slide_summary" in done.stderr.splitlines()[-1]
    (folder / "a.csv").unlink()
    done = aggregate(folder, rows)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
