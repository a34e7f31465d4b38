"""Exports of a field: what QuPath, napari and other OME-Zarr readers get."""

import hashlib
import json
import subprocess
import sys
import uuid
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.path import Path as Polygon
from ome_zarr.io import parse_url
from ome_zarr.reader import Reader
from ome_zarr_models.v04.image import Image
from ome_zarr_models.v04.image_label import ImageLabel
from scipy import ndimage
from skimage.measure import approximate_polygon

from cellsieve import stores, tables
from cellsieve.calling.calls import call_types
from cellsieve.cell_table import cell_columns
from cellsieve.exports import geojson
from cellsieve.exports.ome_zarr_export import write_field
from cellsieve.objects import bounding_boxes

SCRIPT = Path(__file__).parents[1] / "scripts" / "export_field.py"
PROBES = ["aqua", "red"]
ROLES = ["dapi", *PROBES]


def odd_labels():
    """One object of each awkward kind."""
    labels = np.zeros((600, 701), np.uint32)
    labels[0, 0] = 1  # one pixel, in the corner
    labels[10:40, 10:30] = 2
    labels[20:40, 20:30] = 0  # an L
    labels[50:70, 50:70] = 3
    labels[55:60, 55:60] = 0  # a hole
    labels[100:120, 100:120] = labels[100:105, 130:135] = 4  # two pieces
    labels[200:203, 200:203] = labels[203:206, 203:206] = 5  # joined by a corner
    labels[300, 300:360] = 6  # a line
    y, x = np.indices(labels.shape)
    labels[(y - 590) ** 2 + (x - 690) ** 2 < 900] = 7  # cut by the border
    labels[(y - 450) ** 2 + (x - 300) ** 2 < 22**2] = 8
    labels[430:440, 270:330] = 9  # touches 8
    return labels


def write_image(path, shape):
    image = np.random.default_rng(0).integers(0, 4000, (3, *shape)).astype(np.uint16)
    metadata = {"axes": "CYX", "Channel": {"Name": ["Cy5", "DAPI", "Aqua"]}}
    tifffile.imwrite(path, image, photometric="minisblack", metadata=metadata)


def write_inputs(folder, labels, status="ok", pixel_size_um=0.25):
    """Write the stage files of one field; return the arguments of the script."""
    if status == "rejected":
        (folder / "image.ome.tif").write_bytes(b"not an image")
    else:
        write_image(folder / "image.ome.tif", labels.shape)
    stores.write_labels(folder / "nuclei.tif", labels)
    index = np.unique(labels)[1:]
    ours = pd.DataFrame({"field": "f 1", "slide": "s", "cell": index})
    other = pd.DataFrame({"field": "f2", "slide": "s", "cell": [1, 2]})
    types = call_types(PROBES)
    calls = pd.concat([ours, other]).reindex(columns=list(types))
    calls = calls.assign(call="normal", fish_call="normal", reasons="", aqua=2, anomaly_score=0.5)
    calls.loc[(calls.field == "f 1") & (calls.cell == 7), ["call", "fish_call", "reasons"]] = [
        "suspicious",
        "cac",
        'large; "quoted", µ',
    ]
    tables.write_table(folder / "calls.parquet", calls, types)
    measured = pd.DataFrame({"cell": index}).reindex(columns=list(tables.MEASUREMENTS))
    measured = measured.assign(touches_border=index == 1, overlapping=False, y_px=1.5, x_px=2.5)
    measured["area_px"] = [(labels == label).sum() for label in index]
    tables.write_table(folder / "measurements.parquet", measured, tables.MEASUREMENTS)
    with stores.create_zip(folder / "anomaly_map.zarr.zip") as group:
        shape = [-(-n // 16) for n in labels.shape]
        stores.add_plane(group, "map", shape, np.float32)[:] = 0.5
        group.attrs.update(scale=16, unit="score")
    channels = [] if status == "rejected" else ROLES
    qc = {"status": status, "pixel_size_um": pixel_size_um, "channels": channels}
    (folder / "qc.json").write_text(json.dumps(qc))
    return {
        **{"field": "f 1", "slide": "s", "patient": "P 1", "image": folder / "image.ome.tif"},
        **{"qc": folder / "qc.json", "nuclei": folder / "nuclei.tif"},
        "measurements": folder / "measurements.parquet",
        "calls": folder / "calls.parquet",
        "anomaly-map": folder / "anomaly_map.zarr.zip",
        "cells": folder / "out" / "cells.csv",
        "geojson": folder / "out" / "cells.geojson",
        "ome-zarr": folder / "out" / "field.ome.zarr",
    }


def export(arguments, channels=("dapi=DAPI", "aqua=Aqua", "red=Cy5")):
    command = [sys.executable, str(SCRIPT)]
    for name, value in arguments.items():
        command += [f"--{name}", str(value)]
    for channel in channels:
        command += ["--channel", channel]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def done(arguments):
    result = export(arguments)
    assert result.returncode == 0, result.stderr
    return arguments["ome-zarr"].parent


def tree_digest(folder):
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    return {p.relative_to(folder): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("field with space")
    labels = odd_labels()
    arguments = write_inputs(folder, labels)
    return labels, arguments, done(arguments)


def test_cells_csv_has_one_row_a_label_and_the_promised_columns(exported):
    labels, _, out = exported
    cells = pd.read_csv(out / "cells.csv")
    assert list(cells.columns) == cell_columns(PROBES)
    assert cells.cell.tolist() == np.unique(labels)[1:].tolist()
    assert set(cells.field) == {"f 1"}
    assert set(cells.patient) == {"P 1"}
    assert cells.area_um2.isna().all()


def test_geojson_is_what_qupath_imports(exported):
    labels, _, out = exported
    text = (out / "cells.geojson").read_text(encoding="utf-8")
    assert "NaN" not in text
    collection = json.loads(text)
    assert collection["type"] == "FeatureCollection"
    features = {int(f["properties"]["name"]): f for f in collection["features"]}
    assert set(features) == set(np.unique(labels)[1:].tolist())
    assert len({uuid.UUID(f["id"]) for f in features.values()}) == len(features)
    for label, feature in features.items():
        (ring,) = feature["geometry"]["coordinates"]
        assert feature["geometry"]["type"] == "Polygon"
        assert ring[0] == ring[-1]
        assert len(ring) >= 4
        assert feature["properties"]["objectType"] == "detection"
        measured = feature["properties"]["measurements"]
        assert measured["area_px"] == (labels == label).sum()
        assert measured["aqua"] == 2
        assert not {"red", "area_um2", "anomaly_p"} & set(measured), "missing values are left out"
    assert features[7]["properties"]["classification"]["name"] == "suspicious: cac"
    assert features[7]["properties"]["metadata"]["reasons"] == 'large; "quoted", µ'
    assert features[8]["properties"]["classification"]["name"] == "normal"


def pixels_of(ring, shape):
    """Pixels whose centre a polygon holds, by matplotlib."""
    y, x = np.indices(shape)
    centres = np.column_stack([x.ravel() + 0.5, y.ravel() + 0.5])
    return Polygon(ring).contains_points(centres).reshape(shape)


def test_outlines_hold_exactly_the_pixels_of_the_largest_piece_without_holes():
    labels = odd_labels()
    rings = dict(geojson.outlines(labels, bounding_boxes(labels), tolerance=0))
    for label, ring in rings.items():
        pieces, _ = ndimage.label(labels == label, np.ones((3, 3)))
        largest = pieces == np.argmax(np.bincount(pieces.ravel())[1:]) + 1
        assert np.array_equal(pixels_of(ring, labels.shape), ndimage.binary_fill_holes(largest))


def test_simplified_outlines_stay_within_half_a_pixel():
    labels = odd_labels()
    exact = dict(geojson.outlines(labels, bounding_boxes(labels), tolerance=0))
    for label, ring in geojson.outlines(labels, bounding_boxes(labels)):
        assert geojson.is_simple(ring)
        assert len(ring) <= len(exact[label])
        changed = pixels_of(ring, labels.shape) != pixels_of(exact[label], labels.shape)
        # a pixel can only change when its centre is that near the outline: a border pixel
        border = ndimage.binary_dilation(labels == label) & ~ndimage.binary_erosion(labels == label)
        assert not (changed & ~border).any()


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), size=st.integers(1, 30), share=st.floats(0.3, 0.9))
def test_any_object_has_a_valid_outline(seed, size, share):
    labels = (np.random.default_rng(seed).random((size, size)) < share).astype(np.uint8)
    labels[size // 2, size // 2] = 1
    ((_, ring),) = geojson.outlines(labels, bounding_boxes(labels))
    assert np.array_equal(ring[0], ring[-1])
    assert geojson.is_simple(ring)


def test_simplifying_many_rings_is_simplifying_each():
    rng = np.random.default_rng(3)
    labels, _ = ndimage.label(ndimage.gaussian_filter(rng.random((90, 90)), 3) > 0.5)
    exact = [ring for _, ring in geojson.outlines(labels, bounding_boxes(labels), tolerance=0)]
    rings = [ring + rng.normal(0, 0.01, ring.shape) for ring in exact]  # no two equally far
    for ring in rings:
        ring[-1] = ring[0]
    for ring, slim in zip(rings, geojson.simplify(rings, 0.5), strict=True):
        assert np.array_equal(slim, approximate_polygon(ring, 0.5))


@pytest.mark.parametrize(
    ("ring", "simple"),
    [
        ([(0, 0), (4, 0), (4, 4), (0, 4), (0, 0)], True),
        ([(0, 0), (4, 4), (4, 0), (0, 4), (0, 0)], False),  # a bow tie
        ([(0, 0), (4, 0), (0, 0)], False),  # no area
        ([(0, 0), (4, 0), (2, 0), (2, 3), (0, 0)], False),  # goes back on itself
        ([(0, 0), (6, 0), (6, 4), (3, 0), (0, 4), (0, 0)], False),  # touches itself
    ],
)
def test_is_simple(ring, simple):
    assert geojson.is_simple(np.array(ring, float)) is simple


def test_a_table_of_other_nuclei_is_refused(tmp_path):
    cells = pd.DataFrame({"field": ["a"], "cell": [3]})
    with pytest.raises(ValueError, match="not of the same nuclei"):
        geojson.write_geojson(tmp_path / "x.geojson", np.ones((2, 2), int), cells)
    assert not list(tmp_path.iterdir())


def test_ome_zarr_is_valid_and_reads_back(exported):
    labels, arguments, out = exported
    group = zarr.open_group(out / "field.ome.zarr", mode="r")
    image = Image.from_zarr(group)
    assert image.attributes.multiscales[0].version == "0.4"
    ImageLabel.from_zarr(group["labels/nuclei"])
    Image.from_zarr(group["anomaly_map"])
    source = tifffile.imread(arguments["image"])
    main, mask = list(Reader(parse_url(out / "field.ome.zarr"))())[0:3:2]
    assert np.array_equal(np.asarray(main.data[0]), source[[1, 2, 0]])
    assert main.metadata["channel_names"] == ROLES
    assert [a["name"] for a in main.metadata["axes"]] == ["c", "y", "x"]
    assert main.metadata["axes"][1]["unit"] == "micrometer"
    assert np.array_equal(np.asarray(mask.data[0]), labels)


def test_levels_are_means_of_the_image_and_true_labels(exported):
    labels, arguments, out = exported
    group = zarr.open_group(out / "field.ome.zarr", mode="r")
    dapi = tifffile.imread(arguments["image"])[1].astype(float)
    small = group["s1"][0]
    assert small.shape == (300, 350)
    means = dapi[:, :700].reshape(300, 2, 350, 2).mean(axis=(1, 3))
    assert np.abs(small - means).max() < 1
    assert set(np.unique(group["labels/nuclei/s1"])) <= set(np.unique(labels))
    scale, *_ = group.attrs["multiscales"][0]["datasets"][1]["coordinateTransformations"]
    assert scale["scale"] == pytest.approx([1, 0.5, 0.5], rel=0.01)
    moved = group["anomaly_map"].attrs["multiscales"][0]["datasets"][0]["coordinateTransformations"]
    # a map pixel covers 16 field pixels: its middle lies 7.5 pixels in
    assert moved[0]["scale"] == [4.0, 4.0]
    assert moved[1]["translation"] == [1.875, 1.875]


@pytest.mark.filterwarnings("error")
def test_a_map_with_gaps_keeps_its_scores_at_every_level(tmp_path):
    scores = np.full((600, 530), np.nan, np.float32)
    scores[100:104, 200:204], scores[400:, :50] = 7, 2
    plane = np.zeros((8, 8), np.uint16)
    write_field(tmp_path / "f", "f", {"dapi": plane}, plane, anomaly_map=(scores, 16))
    group = zarr.open_group(tmp_path / "f", mode="r")["anomaly_map"]
    assert np.array_equal(group["s0"][:], scores, equal_nan=True)
    small = np.full((300, 265), np.nan, np.float32)
    small[50:52, 100:102], small[200:, :25] = 7, 2
    assert np.array_equal(group["s1"][:], small, equal_nan=True)


def test_without_a_pixel_size_no_unit_is_invented(tmp_path):
    out = done(write_inputs(tmp_path, odd_labels(), pixel_size_um=None))
    attributes = zarr.open_group(out / "field.ome.zarr", mode="r").attrs["multiscales"][0]
    assert all("unit" not in axis for axis in attributes["axes"])
    assert attributes["datasets"][0]["coordinateTransformations"][0]["scale"] == [1, 1, 1]


def test_the_same_input_gives_the_same_bytes(exported):
    _, arguments, out = exported
    before = tree_digest(out)
    assert tree_digest(done(arguments)) == before


@pytest.mark.parametrize("status", ["empty", "rejected"])
def test_outputs_of_a_field_without_nuclei_are_valid_and_empty(tmp_path, status):
    shape = (1, 1) if status == "rejected" else (60, 70)
    arguments = write_inputs(tmp_path, np.zeros(shape, np.uint32), status, pixel_size_um=None)
    out = done(arguments)
    assert (out / "cells.csv").read_text() == ",".join(cell_columns(PROBES)) + "\n"
    assert json.loads((out / "cells.geojson").read_text())["features"] == []
    group = zarr.open_group(out / "field.ome.zarr", mode="r")
    Image.from_zarr(group)
    assert group["s0"].shape == (3, *shape)
    assert not np.asarray(group["labels/nuclei/s0"]).any()


def damage_first_tile(path, page):
    """Overwrite a compressed tile of one channel; the rest of the file stays whole."""
    with tifffile.TiffFile(path) as tif:
        start, count = (v[0] for v in (tif.pages[page].dataoffsets, tif.pages[page].databytecounts))
    with path.open("r+b") as file:
        file.seek(start)
        file.write(b"\xff" * count)


def test_a_probe_that_cannot_be_read_costs_only_itself(tmp_path):
    arguments = write_inputs(tmp_path, odd_labels())
    path = arguments["image"]
    image = tifffile.imread(path)
    metadata = {"axes": "CYX", "Channel": {"Name": ["Cy5", "DAPI", "Aqua"]}}
    tifffile.imwrite(path, image, metadata=metadata, tile=(128, 128), compression=8)
    damage_first_tile(path, page=2)
    qc = json.loads(arguments["qc"].read_text())
    arguments["qc"].write_text(json.dumps(qc | {"channels": ["dapi", "red"]}))
    out = done(arguments)
    assert list(pd.read_csv(out / "cells.csv").columns) == cell_columns(PROBES)
    (main, *_) = Reader(parse_url(out / "field.ome.zarr"))()
    assert main.metadata["channel_names"] == ["dapi", "red"]
    assert np.array_equal(np.asarray(main.data[0]), image[[1, 0]])


def test_a_channel_without_a_name_is_a_mistake_in_one_line(exported):
    result = export(exported[1], channels=["dapi"])
    assert result.returncode == 2
    assert "Traceback" not in result.stderr
    assert "dapi=DAPI" in result.stderr
