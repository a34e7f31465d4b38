"""From fields to a reference to scores, by the command lines of both scripts."""

import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from reference_runs import (
    DIAMETER,
    OUTPUTS,
    SCRIPTS,
    SIDE,
    build_arguments,
    call,
    row,
    score_arguments,
    write_field,
)
from synthetic import draw_field, write_stage

import build_reference
import score_anomaly
from cellsieve import provenance
from cellsieve.anomaly.reference import SMALLEST_BANK, conformal_p
from cellsieve.anomaly.reference_files import MODEL
from cellsieve.anomaly.reference_model import load_model
from cellsieve.errors import UserError
from cellsieve.measurement import measure_nuclei
from cellsieve.stores import open_zip
from cellsieve.tables import ANOMALY, MEASUREMENTS, read_notes, read_table, write_table


@pytest.fixture(scope="module")
def fields(tmp_path_factory):
    """Two reference fields of two slides and one with abnormal nuclei, numbered from 1001."""
    folder = tmp_path_factory.mktemp("fields")
    write_field(folder / "n1", 1, 80)
    write_field(folder / "n2", 2, 80)
    write_field(folder / "p", 3, 80, large=5)
    return folder


@pytest.fixture(scope="module")
def rows(fields):
    return [row(fields / "n1", "s1"), row(fields / "n2", "s2")]


@pytest.fixture(scope="module")
def model(fields, rows):
    done = call("build_reference", build_arguments(fields / "model", rows))
    assert done.returncode == 0, done.stderr
    return fields / "model"


def test_bank_and_calibration_come_from_different_slides(model):
    loaded = load_model(model)
    assert loaded.split_by == "slide"
    assert loaded.notes == []
    assert min(len(loaded.bank), len(loaded.calibration)) >= SMALLEST_BANK
    assert loaded.bank["slide"].nunique() == 1
    other = {"n1": "n2", "n2": "n1"}[loaded.bank["field"][0]]
    assert set(loaded.calibration["id"].str.split(":").str[0]) == {other}
    assert loaded.scale.diameter == 24
    with open_zip(model / "thumbnails.zarr.zip") as store:
        assert store.attrs["ids"] == loaded.bank["id"].tolist()
        assert store["thumbnails"].shape == (len(loaded.bank), 64, 64)
        middle = store["thumbnails"][:, 28:36, 28:36].mean((1, 2))
        corner = store["thumbnails"][:, :4, :4].mean((1, 2))
    assert (middle > 45).all()
    assert np.median(corner) < 5


def test_abnormal_nuclei_score_highest_and_normal_ones_as_the_calibration(fields, model):
    done = call("score_anomaly", score_arguments(fields / "p", model))
    assert done.returncode == 0, done.stderr
    table = read_table(fields / "p" / OUTPUTS[0])
    assert dict(table.dtypes.astype(str)) == ANOMALY
    large = table["cell"] > 1000
    whole = inside(fields / "p")
    assert table["anomaly_score"][large].min() > table["anomaly_score"][~large & whole].max()
    calibration = load_model(model).calibration["score"].to_numpy()
    expected = conformal_p(table["anomaly_score"].to_numpy(), calibration)
    assert table["anomaly_p"].to_numpy() == pytest.approx(expected)
    assert (table["anomaly_p"][~large & whole] <= 0.1).mean() < 0.25
    ids = set(load_model(model).bank["id"])
    assert set(table["nearest_reference_1"]) | set(table["nearest_reference_2"]) <= ids
    assert (table["anomaly_map"] >= 0).all()


def inside(folder):
    return ~read_table(folder / "measurements.parquet")["touches_border"]


def test_scoring_without_a_network_imports_none(fields, model):
    code = "import sys; sys.path.insert(0, sys.argv[1]); import score_anomaly as stage"
    code += "; stage.main(sys.argv[2:])"
    code += "; print({'torch', 'timm', 'sklearn', 'matplotlib'} & set(sys.modules))"
    command = [sys.executable, "-c", code, SCRIPTS, *score_arguments(fields / "p", model)]
    done = subprocess.run([*map(str, command)], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "set()"


def test_the_map_shows_the_highest_score_of_each_block(fields, model):
    score_anomaly.main(score_arguments(fields / "p", model))
    table = read_table(fields / "p" / OUTPUTS[0])
    with open_zip(fields / "p" / OUTPUTS[1]) as store:
        heat, scale = store["map"][:], store.attrs["scale"]
    assert heat.dtype == np.float32
    assert heat.shape == (-(-SIDE // scale),) * 2
    labels = nuclei(fields / "p")
    scores = dict(zip(table["cell"], table["anomaly_score"], strict=True))
    for y, x in np.ndindex(heat.shape):
        block = labels[y * scale : (y + 1) * scale, x * scale : (x + 1) * scale]
        inside = [scores[cell] for cell in np.unique(block[block > 0])]
        expected = max(inside) if inside else np.nan
        assert heat[y, x] == pytest.approx(expected, rel=1e-6, nan_ok=True)
    assert np.isnan(heat).any()
    assert np.isfinite(heat).any()


def nuclei(folder):
    from cellsieve.stores import open_labels

    with open_labels(folder / "nuclei.tif") as labels:
        return labels[:, :]


def test_the_same_bytes_again(fields, rows, model):
    first = [(model / file).read_bytes() for file in MODEL]
    build_reference.main(build_arguments(model, rows))
    assert [(model / file).read_bytes() for file in MODEL] == first
    written = []
    for _ in range(2):
        score_anomaly.main(score_arguments(fields / "n1", model))
        written.append([(fields / "n1" / file).read_bytes() for file in OUTPUTS])
    assert written[0] == written[1]


def test_the_order_of_the_fields_does_not_matter(fields, rows, model, tmp_path):
    build_reference.main(build_arguments(tmp_path, rows[::-1], "--seed", "0"))
    for file in ("bank.parquet", "calibration.parquet"):
        ours, theirs = (
            pd.read_parquet(folder / file).sort_values("id", ignore_index=True)
            for folder in (tmp_path, model)
        )
        pd.testing.assert_frame_equal(ours, theirs)


def test_reference_nuclei_choose_the_nuclei(fields, rows, tmp_path):
    sound = read_table(fields / "n1" / "measurements.parquet")
    listed = sound["cell"][~sound["touches_border"]].tolist()[:50]
    (tmp_path / "list.tsv").write_text("\n".join(map(str, [*listed, 1])))
    chosen = rows[0] | {"reference_nuclei": tmp_path / "list.tsv"}
    build_reference.main(build_arguments(tmp_path, [chosen]))
    loaded = load_model(tmp_path)
    used = {int(name.split(":")[1]) for name in [*loaded.bank["id"], *loaded.calibration["id"]]}
    assert used <= {*listed, 1}
    assert len(used) > 40
    assert loaded.split_by == "nucleus"
    assert "share a field" in loaded.notes[0]
    (field,) = json.loads((tmp_path / "record.json").read_text())["fields"]
    digest = hashlib.sha256((tmp_path / "list.tsv").read_bytes()).hexdigest()
    assert field["reference_nuclei_sha256"] == digest


def test_the_record_names_code_versions_seed_and_fields(model):
    record = json.loads((model / "record.json").read_text())
    assert record["code"] == provenance.code("build_reference")
    assert record["versions"] == provenance.versions()
    assert record["seed"] == 0
    known = ["field", "image_sha256", "nuclei_sha256"]
    assert [sorted(field) for field in record["fields"]] == [known] * 2


def test_a_listed_nucleus_that_is_not_there_is_a_mistake(rows, tmp_path):
    (tmp_path / "list.tsv").write_text("1\n99999\n")
    arguments = build_arguments(tmp_path, [rows[0] | {"reference_nuclei": tmp_path / "list.tsv"}])
    with pytest.raises(UserError, match=r"n1 has no nucleus 99999 \(1 of 2 labels"):
        build_reference.main(arguments)


def test_another_image_of_the_same_name_is_another_field(rows, model, tmp_path):
    """A nucleus is no neighbour of itself; its namesake of another run is."""
    loaded = load_model(model)
    field = loaded.bank["field"].iloc[0]
    image, outlines = loaded.images[field]
    assert loaded.name("anything", image, outlines) == field
    assert loaded.name(field, "other", outlines) != field
    assert loaded.name(field, image, "other") != field
    assert loaded.name("p", image, "other") == "p"
    assert loaded.image_name("p", image) == field
    assert loaded.image_name("p", "other") == "p"
    folder = next(Path(one["qc"]).parent for one in rows if one["field"] == field)
    copied = shutil.copytree(folder, tmp_path / field)
    score_anomaly.main(score_arguments(copied, model))
    table = read_table(copied / OUTPUTS[0]).merge(loaded.bank[["cell"]], on="cell")
    itself = [f"{field}:{cell}" for cell in table["cell"]]
    assert not (table["nearest_reference_1"] == itself).any()
    qc = json.loads((copied / "qc.json").read_text())
    (copied / "qc.json").write_text(json.dumps(qc | {"image_sha256": "0" * 64}))
    score_anomaly.main(score_arguments(copied, model))
    table = read_table(copied / OUTPUTS[0]).merge(loaded.bank[["cell"]], on="cell")
    assert (table["nearest_reference_1"] == itself).all()


def test_too_few_reference_nuclei_leave_scores_empty_with_the_reason(fields, tmp_path):
    write_field(tmp_path / "few", 5, 30)
    build_reference.main(build_arguments(tmp_path, [row(tmp_path / "few", "s")]))
    record = json.loads((tmp_path / "record.json").read_text())
    assert (record["bank"], record["calibration"]) == (0, 0)
    assert "reference nuclei; at least 40 are needed" in record["notes"][0]
    score_anomaly.main(score_arguments(tmp_path / "few", tmp_path))
    table = read_table(tmp_path / "few" / OUTPUTS[0])
    assert len(table) > 20
    assert table.drop(columns="cell").isna().all(axis=None)
    with open_zip(tmp_path / "few" / OUTPUTS[1]) as store:
        assert np.isnan(store["map"][:]).all()


def test_trimmed_reference_scores_without_p(fields, rows, tmp_path):
    build_reference.main(build_arguments(tmp_path, rows, "--trim"))
    loaded = load_model(tmp_path)
    assert len(loaded.calibration) == 0
    assert "without p and q" in loaded.notes[0]
    write_field(tmp_path / "f", 6)
    score_anomaly.main(score_arguments(tmp_path / "f", tmp_path))
    table = read_table(tmp_path / "f" / OUTPUTS[0])
    assert table["anomaly_score"].notna().all()
    assert table["anomaly_p"].isna().all()


def test_a_rejected_field_is_left_out_and_gets_empty_outputs(fields, rows, model, tmp_path):
    field, nothing = tmp_path / "bad", np.zeros((1, 1), np.uint32)
    rejected = {"status": "rejected", "diameter_px": None, "nuclear_intensity": None}
    write_stage(field, nothing, nothing, **rejected)
    write_table(field / "measurements.parquet", pd.DataFrame(), MEASUREMENTS)
    build_reference.main(build_arguments(tmp_path / "model", [*rows, row(field, "s1")]))
    for file in ("bank.parquet", "calibration.parquet"):
        assert (tmp_path / "model" / file).read_bytes() == (model / file).read_bytes()
    score_anomaly.main(score_arguments(field, model))
    table = read_table(field / OUTPUTS[0])
    assert len(table) == 0
    assert dict(table.dtypes.astype(str)) == ANOMALY
    with open_zip(field / OUTPUTS[1]) as store:
        assert np.isnan(store["map"][:]).tolist() == [[True]]
    build_reference.main(build_arguments(tmp_path / "none", [row(field, "s1")]))
    assert len(load_model(tmp_path / "none").bank) == 0


def test_labels_with_gaps_and_large_numbers(fields, model, tmp_path):
    """Three thousand million as a label takes no memory in proportion."""
    labels = write_field(tmp_path / "f", 7, 10)
    with open_zip(tmp_path / "f" / "dapi.zarr.zip") as store:
        dapi = store["dapi"][:]
    score_anomaly.main(score_arguments(tmp_path / "f", model))
    expected = [read_table(tmp_path / "f" / OUTPUTS[0]), (tmp_path / "f" / OUTPUTS[1]).read_bytes()]
    large = np.where(labels > 0, labels.astype(np.int64) * 70_001 + 3_000_000_000, 0)
    write_stage(tmp_path / "f", dapi, large.astype(np.uint32))
    score_anomaly.main(score_arguments(tmp_path / "f", model))
    table = read_table(tmp_path / "f" / OUTPUTS[0])
    assert table["cell"].tolist() == (expected[0]["cell"] * 70_001 + 3_000_000_000).tolist()
    pd.testing.assert_frame_equal(table.drop(columns="cell"), expected[0].drop(columns="cell"))
    assert (tmp_path / "f" / OUTPUTS[1]).read_bytes() == expected[1]


def test_an_unusual_diameter_is_noted(model, tmp_path):
    for name, diameter in (("usual", 30.0), ("unusual", 48.0)):
        write_field(tmp_path / name, 8, 10, diameter_px=diameter)
        score_anomaly.main(score_arguments(tmp_path / name, model))
    assert read_notes(tmp_path / "usual" / OUTPUTS[0]) == []
    notes = read_notes(tmp_path / "unusual" / OUTPUTS[0])
    assert notes == ["unusual diameter: 2.00 times the reference's"]
    assert read_table(tmp_path / "usual" / OUTPUTS[0])["anomaly_p"].notna().all()
    assert read_table(tmp_path / "unusual" / OUTPUTS[0])["anomaly_p"].isna().all()


def test_a_field_of_other_stain_keeps_its_scores_and_gets_no_p(fields, model, tmp_path):
    """The same nuclei, full of grain: none of the reference is."""
    labels = write_field(tmp_path / "grain", 3, 80)
    with open_zip(tmp_path / "grain" / "dapi.zarr.zip") as store:
        dapi = store["dapi"][:]
    score_anomaly.main(score_arguments(tmp_path / "grain", model))
    assert read_notes(tmp_path / "grain" / OUTPUTS[0]) == []
    assert read_table(tmp_path / "grain" / OUTPUTS[0])["anomaly_p"].notna().all()
    grain = np.random.default_rng(0).uniform(0.3, 1.7, dapi.shape)
    write_stage(tmp_path / "grain", dapi * grain, labels.astype(np.uint32))
    score_anomaly.main(score_arguments(tmp_path / "grain", model))
    table = read_table(tmp_path / "grain" / OUTPUTS[0])
    assert table["anomaly_p"].isna().all()
    assert table["anomaly_score"].notna().all()
    (note,) = read_notes(tmp_path / "grain" / OUTPUTS[0])
    assert note.startswith("unusual fine texture: +")


def test_reference_fields_of_two_pixel_sizes_share_one_scale(tmp_path):
    """At half the pixel size everything is twice as large in pixels, and the same in the bank."""
    write_field(tmp_path / "a", 1, 60, pixel_size_um=0.4)
    fine = draw_field((2 * SIDE, 2 * SIDE), 2 * DIAMETER, 60, 2, touching=0, background=0)
    write_stage(tmp_path / "b", np.maximum(fine.image, 0), fine.labels)
    quality = json.loads((tmp_path / "b" / "qc.json").read_text())
    quality |= {"pixel_size_um": 0.2, "diameter_px": 48.0}
    (tmp_path / "b" / "qc.json").write_text(json.dumps(quality))
    table = measure_nuclei(fine.image, fine.labels, 0.2)
    write_table(tmp_path / "b" / "measurements.parquet", table, MEASUREMENTS)
    rows = [row(tmp_path / "a", "s"), row(tmp_path / "b", "s")]
    build_reference.main(build_arguments(tmp_path / "model", rows, "--trim"))
    loaded = load_model(tmp_path / "model")
    assert loaded.scale.pixel_size_um == pytest.approx(0.3)
    assert loaded.scale.diameter == pytest.approx(32)
    sizes = loaded.bank.groupby("field")["f_area"].median()
    assert sizes["a"] == pytest.approx(sizes["b"], abs=0.1)
    with open_zip(tmp_path / "model" / "thumbnails.zarr.zip") as store:
        bright = (store["thumbnails"][:] > 50).mean((1, 2))
    shown = pd.Series(bright).groupby(loaded.bank["field"].to_numpy()).median()
    assert shown["a"] == pytest.approx(shown["b"], rel=0.15)


def test_a_changed_model_is_refused_in_one_line(fields, rows, tmp_path):
    build_reference.main(build_arguments(tmp_path, rows))
    with (tmp_path / "calibration.parquet").open("ab") as file:
        file.write(b" ")
    done = call("score_anomaly", score_arguments(fields / "n1", tmp_path))
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("error: ")
    assert "calibration.parquet is not the file" in last


def note(folder, **about):
    record = folder / "record.json"
    record.write_text(json.dumps(json.loads(record.read_text()) | about))


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (lambda folder: (folder / "bank.parquet").unlink(), "bank.parquet"),
        (lambda folder: (folder / "record.json").write_text("{}"), "not the record"),
        (lambda folder: (folder / "record.json").write_text('{"format": 4}'), "not the record"),
        (lambda folder: (folder / "record.json").write_text('{"format": 3}'), "format 3, but"),
        (lambda folder: note(folder, modality="stain"), "a reference model of stain, not fluor"),
        (lambda folder: (folder / "record.json").write_text("[]"), "not the record"),
        (lambda folder: (folder / "record.json").write_text("{"), "not the record"),
        (lambda folder: (folder / "record.json").unlink(), "not a reference model"),
    ],
)
def test_a_broken_model_is_refused(model, tmp_path, spoil, complaint):
    for file in MODEL:
        (tmp_path / file).write_bytes((model / file).read_bytes())
    assert len(load_model(tmp_path).bank)
    spoil(tmp_path)
    with pytest.raises(UserError, match=complaint):
        load_model(tmp_path)
