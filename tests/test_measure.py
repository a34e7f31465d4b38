"""Measurements against whole-image regionprops, and the script by its command line."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from skimage.measure import regionprops
from synthetic import draw_field, write_stage

from cellsieve import objects
from cellsieve.measurement import bright_part, contact_share, measure_nuclei
from cellsieve.tables import MEASUREMENTS, read_table

SCRIPT = Path(__file__).parents[1] / "scripts" / "measure.py"


@pytest.fixture(scope="module")
def field():
    drawn = draw_field((300, 340), 24, 60, seed=4, touching=0.7, background=0)
    numbers = np.random.default_rng(0).choice(3_000_000_000, drawn.labels.max() + 1, replace=False)
    numbers[0] = 0
    dapi = np.rint(np.maximum(drawn.image, 0)).astype(np.uint16)
    return dapi, numbers.astype(np.uint32)[drawn.labels]


def by_regionprops(dapi, labels, unit):
    """Measure the whole image at once, object by object."""
    present, numbers = np.unique(np.append(0, labels), return_inverse=True)
    regions = regionprops(numbers[1:].reshape(labels.shape), dapi)
    height, width = labels.shape
    return pd.DataFrame(
        {
            "cell": present[region.label].astype(np.int64),
            "y_px": region.centroid[0],
            "x_px": region.centroid[1],
            "y_um": region.centroid[0] * unit,
            "x_um": region.centroid[1] * unit,
            "area_px": int(region.area),
            "area_um2": region.area * unit * unit,
            "major_um": region.axis_major_length * unit,
            "minor_um": region.axis_minor_length * unit,
            "eccentricity": region.eccentricity,
            "solidity": region.solidity,
            "dapi_mean": region.image_intensity[region.image].mean(dtype=float),
            "dapi_sum": float(dapi[labels == present[region.label]].sum(dtype=np.uint64)),
            "touches_border": region.bbox[0] == 0
            or region.bbox[1] == 0
            or region.bbox[2] == height
            or region.bbox[3] == width,
        }
        for region in regions
    )


@pytest.mark.parametrize("tile", [40, 1024])
def test_every_column_as_regionprops_whatever_the_batches(field, monkeypatch, tile):
    monkeypatch.setattr(objects, "TILE", tile)
    table = measure_nuclei(*field, 0.25)
    assert list(table) == list(MEASUREMENTS)
    expected = by_regionprops(*field, 0.25)
    pd.testing.assert_frame_equal(
        table.drop(columns=["overlapping", "contact", "bright_part"]), expected, rtol=1e-9
    )
    assert 0 < table["touches_border"].sum() < len(table)


def test_the_brightest_part_by_hand():
    """A disc of 40 px of 100 counts: a square of 16 px twice as bright, or one pixel of 9,100."""
    y, x = np.ogrid[-24:25, -24:25]
    inside = y**2 + x**2 <= 20**2
    even = np.full(inside.shape, 100.0)
    assert bright_part(inside, even) == pytest.approx(1, rel=0.02)
    brighter = even.copy()
    brighter[16:32, 16:32] = 200
    assert bright_part(inside, brighter) == pytest.approx(2)
    speck = even.copy()
    speck[24, 24] = 9_100  # a pixel in 256
    assert bright_part(inside, speck) == pytest.approx(1 + 90 / 256, rel=0.02)
    assert bright_part(inside, 0 * even) == 1


def test_nothing_depends_on_the_batches(field, monkeypatch):
    whole = measure_nuclei(*field, 0.3)
    monkeypatch.setattr(objects, "TILE", 40)
    pd.testing.assert_frame_equal(whole, measure_nuclei(*field, 0.3), check_exact=True)
    assert 0 < whole["overlapping"].sum() < len(whole)


def test_odd_forms_as_regionprops():
    """A pixel, a row, a column, two pieces and a ring, without a pixel of background."""
    labels = np.full((9, 9), 7)
    labels[0, 0], labels[2, 1:6], labels[4:8, 0], labels[6:9, 3:6] = 1, 2, 3, 4
    labels[7, 4] = 5
    labels[0, 8] = labels[4, 8] = 6
    counts = np.arange(81, dtype=np.uint16).reshape(9, 9)
    table = measure_nuclei(counts, labels, 1.0)
    expected = by_regionprops(counts, labels, 1.0)
    drawn = ["overlapping", "contact", "bright_part"]
    pd.testing.assert_frame_equal(table.drop(columns=drawn), expected, rtol=1e-9)


def test_without_a_pixel_size_micrometres_are_empty(field):
    table = measure_nuclei(*field, None)
    micrometres = [name for name in table if name.endswith(("_um", "_um2"))]
    assert len(micrometres) == 5
    assert table[micrometres].isna().all(axis=None)
    assert table.drop(columns=micrometres).notna().all(axis=None)


def test_sum_by_hand():
    labels = np.array([[0, 4, 4], [0, 4, 9]])
    table = measure_nuclei(np.array([[1, 2, 3], [4, 5, 60_000]], np.uint16), labels, 0.5)
    assert table["dapi_sum"].tolist() == [10, 60_000]
    assert table["area_um2"].tolist() == [0.75, 0.25]
    assert table["y_um"].tolist() == pytest.approx([0.5 / 3, 0.5])


@pytest.mark.parametrize(
    ("labels", "share"),
    [
        ([[0, 0, 0], [0, 1, 0], [0, 0, 0]], [0, 0]),
        ([[1, 1, 2, 2]], [0, 1, 1]),  # two pixels of contact, no other outline
        ([[1, 1, 2, 2], [0, 0, 0, 0]], [0, 0.5, 0.5]),
        ([[1, 0], [0, 2]], [0, 0, 0]),  # corners do not touch
        ([[3, 3, 3], [3, 1, 3], [3, 3, 3]], [0, 1, 0, 1]),  # corners are no outline
        ([[1, 2, 3]], [0, 1, 1, 1]),
        ([[0, 0]], [0]),
    ],
)
def test_contact_by_hand(labels, share):
    assert contact_share(np.array(labels)).tolist() == share


def measure(folder):
    command = [sys.executable, SCRIPT, "--measurements", folder / "m.parquet"]
    for name in ("dapi.zarr.zip", "nuclei.tif", "qc.json"):
        command += [f"--{name.split('.')[0]}", folder / name]
    return subprocess.run([*map(str, command)], check=False, capture_output=True, text=True)


def test_the_command_writes_the_same_bytes_again(tmp_path, field):
    write_stage(tmp_path, *field, pixel_size_um=0.25)
    written = []
    for _ in range(2):
        done = measure(tmp_path)
        assert done.returncode == 0, done.stderr
        written.append((tmp_path / "m.parquet").read_bytes())
    assert written[0] == written[1]
    pd.testing.assert_frame_equal(read_table(tmp_path / "m.parquet"), measure_nuclei(*field, 0.25))


def test_a_rejected_field_gives_an_empty_table(tmp_path):
    nothing = np.zeros((1, 1), np.uint32)
    write_stage(tmp_path, nothing, nothing, status="rejected", diameter_px=None)
    assert measure(tmp_path).returncode == 0
    table = read_table(tmp_path / "m.parquet")
    assert len(table) == 0
    assert dict(table.dtypes.astype(str)) == MEASUREMENTS
