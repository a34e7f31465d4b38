"""Preprocessing of good, doubtful and unusable fields; by function and by command line."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr
from scipy import ndimage
from synthetic import PEAK, draw_field, write_image

from cellsieve import preprocessing
from cellsieve.errors import BadFieldError
from cellsieve.preprocessing import preprocess
from cellsieve.stores import open_zip

SCRIPT = Path(__file__).parents[1] / "scripts" / "preprocess.py"
SIDE, DIAMETER = 400, 30
QC = {
    "status",
    "reasons",
    "shape",
    "dtype",
    "channels",
    "missing_channels",
    "pixel_size_um",
    "diameter_px",
    "focus",
    "saturated_fraction",
    "background",
    "foreground_fraction",
    "nuclear_intensity",
    "image_sha256",
}


@pytest.fixture(scope="module")
def field():
    return draw_field((SIDE, SIDE), DIAMETER, 40, seed=2)


def processed(image):
    group = zarr.group()
    qc = preprocess(image, group)
    return qc, group["dapi"][:], group["foreground"][:]


def test_counts_above_the_background_and_a_sound_foreground(field):
    qc, dapi, foreground = processed(field.image.astype(np.uint16))
    assert (qc["status"], qc["reasons"]) == ("ok", [])
    assert dapi.dtype == np.uint16
    outside = ndimage.distance_transform_edt(field.labels == 0) > 6
    assert np.median(dapi[outside]) < 5
    expected = field.image[field.labels > 0].mean() - 200
    assert dapi[field.labels > 0].mean() == pytest.approx(expected, rel=0.01)
    both = (foreground > 0) & (field.labels > 0)
    assert 2 * both.sum() / (foreground.sum() + (field.labels > 0).sum()) > 0.93
    assert qc["foreground_fraction"] == pytest.approx(foreground.mean(), abs=1e-6)
    assert qc["background"] == pytest.approx(200, abs=3)
    assert qc["diameter_px"] == pytest.approx(DIAMETER, rel=0.15)
    assert 0.5 * PEAK < qc["nuclear_intensity"] < 1.3 * PEAK


def test_tiles_do_not_show(field, monkeypatch):
    whole = processed(field.image.astype(np.uint16))
    monkeypatch.setattr(preprocessing, "TILE", 96)
    tiled = processed(field.image.astype(np.uint16))
    assert tiled[0] == whole[0]
    assert np.array_equal(tiled[1], whole[1])
    assert (tiled[2] != whole[2]).mean() < 1e-4


def test_a_float_image_keeps_its_unit(field):
    qc, dapi, _ = processed((field.image / 65535).astype(np.float32))
    assert dapi.dtype == np.float32
    assert dapi.min() == 0
    assert qc["background"] == pytest.approx(200 / 65535, rel=0.02)
    assert qc["diameter_px"] == pytest.approx(DIAMETER, rel=0.15)


def test_faults_of_the_picture_flag_it(field):
    blurred = ndimage.gaussian_filter(field.image, 9)
    out_of_focus = processed(np.random.default_rng(0).poisson(blurred).astype(np.uint16))[0]
    assert out_of_focus["status"] == "flagged"
    assert "out of focus" in out_of_focus["reasons"][0]
    saturated = processed(np.minimum(field.image, 700).astype(np.uint16))[0]
    assert saturated["status"] == "flagged"
    assert "saturated" in saturated["reasons"][0]
    assert saturated["saturated_fraction"] > 0.5


@pytest.mark.parametrize("shape", [(200, 200), (3, 300), (1, 7)])
def test_noise_alone_is_an_empty_field(shape):
    image = np.random.default_rng(0).normal(500, 9, shape).astype(np.uint16)
    qc, dapi, foreground = processed(image)
    assert qc["status"] == "empty"
    assert qc["diameter_px"] is None
    assert dapi.shape == foreground.shape == shape


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        (np.zeros((50, 50), np.uint16), "one flat value, 0"),
        (np.full((50, 50), 65535, np.uint16), "one flat value, 65535"),
        (np.ones((1, 1), np.uint8), "one flat value"),
        (np.array([[1.0, np.nan]]), "NaN"),
        (np.array([[1.0, np.inf]]), "NaN or inf"),
    ],
)
def test_what_cannot_be_used_is_refused(image, reason):
    with pytest.raises(BadFieldError, match=reason):
        preprocess(image, zarr.group())


def run(folder, image, *more, channel="DAPI"):
    command = [sys.executable, SCRIPT, "--image", folder / image, "--channel", f"dapi={channel}"]
    command += ["--dapi", folder / "dapi.zarr.zip", "--qc", folder / "qc.json", *more]
    return subprocess.run([*map(str, command)], check=False, capture_output=True, text=True)


def test_the_command_writes_the_same_bytes_again(tmp_path, field):
    write_image(tmp_path / "f.ome.tif", field.image, 0.3)
    written = []
    for _ in range(2):
        done = run(tmp_path, "f.ome.tif", "--pixel-size", "0.4")
        assert done.returncode == 0, done.stderr
        written.append([(tmp_path / n).read_bytes() for n in ("dapi.zarr.zip", "qc.json")])
    assert written[0] == written[1]
    qc = json.loads(written[0][1])
    assert set(qc) == QC
    assert qc["shape"] == [SIDE, SIDE]
    assert qc["pixel_size_um"] == 0.4
    assert qc["status"] == "flagged"
    assert qc["reasons"] == ["pixel size: 0.4 µm by the sheet (used), 0.3 µm by the file"]
    assert len(qc["image_sha256"]) == 64


def test_a_field_with_nan_is_rejected_with_valid_outputs(tmp_path, field):
    image = field.image.astype(np.float32)
    image[7, 8] = np.nan
    tifffile.imwrite(tmp_path / "f.tif", image)
    done = run(tmp_path, "f.tif", channel="0")
    assert done.returncode == 0, done.stderr
    qc = json.loads((tmp_path / "qc.json").read_text())
    assert set(qc) == QC
    assert qc["status"] == "rejected"
    assert "not numbers" in qc["reasons"][0]
    assert qc["shape"] is qc["diameter_px"] is None
    assert qc["image_sha256"]
    with open_zip(tmp_path / "dapi.zarr.zip") as store:
        assert store["dapi"].shape == store["foreground"].shape == (1, 1)


def write_three(path, image, **options):
    metadata = {"axes": "CYX", "Channel": {"Name": ["DAPI", "Aqua", "Gold"]}}
    tifffile.imwrite(path, image, photometric="minisblack", metadata=metadata, **options)


def damage_first_tile(path, page):
    """Overwrite a compressed tile of one channel; the rest of the file stays whole."""
    with tifffile.TiffFile(path) as tif:
        start, count = (v[0] for v in (tif.pages[page].dataoffsets, tif.pages[page].databytecounts))
    with path.open("r+b") as file:
        file.seek(start)
        file.write(b"\xff" * count)


@pytest.mark.parametrize(
    ("bad", "good", "reason"),
    [("aqua", "gold", "cannot be decoded"), ("gold", "aqua", "not numbers (NaN or inf)")],
)
def test_a_bad_probe_costs_only_itself(tmp_path, field, bad, good, reason):
    # a flat probe is a result
    image = np.stack([field.image, field.image, np.full((SIDE, SIDE), 7)])
    if bad == "aqua":
        write_three(tmp_path / "f.ome.tif", image.astype(np.uint16), tile=(128, 128), compression=8)
        damage_first_tile(tmp_path / "f.ome.tif", page=1)
    else:
        image[2, 5, 6] = np.nan
        write_three(tmp_path / "f.ome.tif", image.astype(np.float32))
    probes = ["--channel", "aqua=Aqua", "--channel", "gold=Gold", "--channel", "red=Red"]
    done = run(tmp_path, "f.ome.tif", *probes)
    assert done.returncode == 0, done.stderr
    qc = json.loads((tmp_path / "qc.json").read_text())
    assert qc["status"] == "flagged"
    assert qc["channels"] == ["dapi", good]
    assert qc["missing_channels"] == [role for role in ("aqua", "gold", "red") if role != good]
    absent, unusable = qc["reasons"]
    assert absent == "no channel for red"
    assert unusable.startswith(f"{bad} cannot be used: ")
    assert reason in unusable
    assert qc["diameter_px"] == pytest.approx(DIAMETER, rel=0.15)


def test_on_bad_field_fail_stops_with_one_line_and_no_output(tmp_path):
    write_image(tmp_path / "f.ome.tif", np.full((40, 40), 5))
    done = run(tmp_path, "f.ome.tif", "--on-bad-field", "fail")
    assert done.returncode == 2
    assert done.stderr.strip().splitlines()[-1].startswith("error:")
    assert "flat value" in done.stderr
    assert "Traceback" not in done.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["f.ome.tif"]


def test_a_full_pixel_on_a_steep_background_stays_full(tmp_path):
    y, x = np.mgrid[:600, :600]
    image = (2000 * ((x + y) / 1200.0) ** 2).astype(np.uint16)
    image[200:230, 200:230] = 3000
    image[:25, :25] = 65535  # beyond the outermost mesh centre the background falls below 0
    store = zarr.open_group(tmp_path / "s", mode="w")
    preprocess(image, store)
    assert np.asarray(store["dapi"][:25, :25]).min() > 60000


@pytest.mark.parametrize("shape", [(1, 300), (4, 20000), (20000, 3)])
def test_a_thin_image_is_read(tmp_path, shape):
    image = np.random.default_rng(0).integers(90, 110, shape).astype(np.uint16)
    assert preprocess(image, zarr.open_group(tmp_path / "s", mode="w"))["status"] == "empty"
