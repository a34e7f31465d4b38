"""Label images and zarr zips."""

from xml.etree import ElementTree

import numpy as np
import pytest
import tifffile

from cellsieve.stores import (
    LARGEST_LABEL,
    add_plane,
    create_zip,
    open_labels,
    open_zip,
    write_labels,
)


@pytest.fixture
def labels():
    """Gaps, numbers above 16 bits and the largest there is; no multiple of a tile."""
    values = np.array([0, 1, 7, 65_536, 3_000_000_000, LARGEST_LABEL], np.uint32)
    return values[np.random.default_rng(0).integers(0, len(values), (700, 530))]


def test_labels_come_back_exactly_and_by_region(tmp_path, labels):
    write_labels(tmp_path / "n.tif", labels)
    with open_labels(tmp_path / "n.tif") as read:
        assert read.dtype == np.uint32
        assert read.shape == labels.shape
        assert np.array_equal(read[500:530, 505:530], labels[500:530, 505:530])
    assert np.array_equal(tifffile.imread(tmp_path / "n.tif"), labels)


def test_a_lookup_renumbers(tmp_path):
    write_labels(tmp_path / "n.tif", np.array([[0, 1], [2, 2]]), lookup=np.array([0, 9, 4]))
    assert tifffile.imread(tmp_path / "n.tif").tolist() == [[0, 9], [4, 4]]


@pytest.mark.parametrize(("size", "recorded"), [(0.25, "0.25"), (None, None)])
def test_the_pixel_size_is_recorded_and_none_invented(tmp_path, labels, size, recorded):
    write_labels(tmp_path / "n.tif", labels, size)
    with tifffile.TiffFile(tmp_path / "n.tif") as tif:
        pixels = ElementTree.fromstring(tif.ome_metadata).find(".//{*}Pixels")
    assert pixels.get("PhysicalSizeX") == pixels.get("PhysicalSizeY") == recorded
    assert pixels.get("SizeX") == "530"


def test_same_labels_same_bytes(tmp_path, labels):
    written = []
    for _ in range(2):
        write_labels(tmp_path / "n.tif", labels, 0.3)
        written.append((tmp_path / "n.tif").read_bytes())
    assert written[0] == written[1]


def test_a_store_is_one_file_with_the_same_bytes(tmp_path):
    values = np.arange(600 * 520, dtype=np.uint16).reshape(600, 520)
    for name in ("a.zarr.zip", "b.zarr.zip"):
        with create_zip(tmp_path / name) as group:
            add_plane(group, "p", values.shape, np.uint16)[:] = values
            group.attrs["scale"] = 16
    assert (tmp_path / "a.zarr.zip").read_bytes() == (tmp_path / "b.zarr.zip").read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.zarr.zip", "b.zarr.zip"]
    with open_zip(tmp_path / "a.zarr.zip") as store:
        assert np.array_equal(store["p"][510:, :20], values[510:, :20])
        assert store.attrs["scale"] == 16


def test_a_store_that_fails_leaves_the_old_one(tmp_path):
    with create_zip(tmp_path / "a.zarr.zip") as group:
        group.attrs["version"] = 1
    old = (tmp_path / "a.zarr.zip").read_bytes()
    with pytest.raises(OSError, match="disk"), create_zip(tmp_path / "a.zarr.zip") as group:
        group.attrs["version"] = 2
        raise OSError("disk full")
    assert [p.name for p in tmp_path.iterdir()] == ["a.zarr.zip"]
    assert (tmp_path / "a.zarr.zip").read_bytes() == old
