"""Damaged images, foreign formats and faults of the machine are told apart."""

import os
from importlib.util import find_spec

import numpy as np
import pytest
import tifffile
from image_writers import CHANNELS, WRITERS, read, write_ome, write_pages, write_zarr
from PIL import Image

from cellsieve.errors import BadFieldError, UserError
from cellsieve.images import open_field


def test_a_damaged_chunk_shows_when_its_tile_is_read(tmp_path, pixels):
    write_zarr(tmp_path / "a.zarr", pixels, "0.5")
    chunk = tmp_path / "a.zarr" / "0" / "c" / "1" / "1" / "1"
    chunk.write_bytes(chunk.read_bytes()[:50])
    with open_field(tmp_path / "a.zarr", CHANNELS) as field:
        np.testing.assert_array_equal(field.plane("aqua")[0:64, 0:64], pixels[1, :64, :64])
        with pytest.raises(BadFieldError, match=r"a\.zarr cannot be decoded"):
            field.plane("aqua")[0:100, 0:100]
    chunk.unlink()
    with open_field(tmp_path / "a.zarr", CHANNELS) as field:
        assert any("1 of 27 chunks are absent" in note for note in field.notes)


@pytest.mark.parametrize(
    "name",
    ["ome_tiled.tif", "imagej.tif", "ome_strips.tif", "pages.tif", "plain.tif", "a.png", "a.jpg"],
)
def test_a_file_cut_anywhere_is_never_read_wrongly(tmp_path, pixels, name):
    path, channels = tmp_path / name, {"dapi": 0}
    if name == "a.png":
        Image.fromarray(pixels[0]).save(path)
    elif name == "a.jpg":
        Image.fromarray((pixels[0] >> 8).astype(np.uint8)).save(path)
    else:
        channels = {"dapi": 0, "aqua": 1, "gold": 2}
        more = {
            "pages.tif": write_pages,
            "plain.tif": lambda p, a: tifffile.imwrite(p, a, photometric="minisblack"),
        }
        (WRITERS | more)[name](path, pixels)
    whole, data = read(path, channels), path.read_bytes()
    refused = 0
    for length in np.linspace(0, len(data) - 1, 25).astype(int):
        path.write_bytes(data[:length])
        try:
            np.testing.assert_array_equal(read(path, channels), whole)
        except BadFieldError as error:
            refused += 1
            assert name in str(error)
            assert "\n" not in str(error)
    assert refused >= 24


def test_what_is_no_image_is_refused(tmp_path):
    for name, content in [("a.tif", b""), ("b.tif", b"hello"), ("c.tif", b"II*\0" + b"\xff" * 40)]:
        (tmp_path / name).write_bytes(content)
        with pytest.raises(BadFieldError, match=name):
            read(tmp_path / name)


def test_a_damaged_size_is_refused_before_memory_is_asked_for(tmp_path, pixels):
    tifffile.imwrite(tmp_path / "a.tif", pixels[0], compression="lzw", metadata=None)
    with tifffile.TiffFile(tmp_path / "a.tif", mode="r+") as tif:
        tif.pages[0].tags["ImageWidth"].overwrite(2_000_000_000, dtype="I")
    with pytest.raises(BadFieldError, match="2000000000 pixels"):
        read(tmp_path / "a.tif", {"dapi": 0})


def test_faults_of_the_machine_are_not_blamed_on_the_image(tmp_path, pixels):
    with pytest.raises(FileNotFoundError) as caught:
        read(tmp_path / "gone.tif")
    assert caught.value.filename == str(tmp_path / "gone.tif")
    write_ome(tmp_path / "a.tif", pixels)
    (tmp_path / "a.tif").chmod(0)
    if os.geteuid() != 0:
        with pytest.raises(PermissionError):
            read(tmp_path / "a.tif")


@pytest.mark.skipif(find_spec("bioio") is not None, reason="bioio is installed")
def test_a_makers_format_names_the_package_that_reads_it(tmp_path):
    (tmp_path / "a.czi").write_bytes(b"ZISRAWFILE" + bytes(100))
    with pytest.raises(UserError, match="pip install bioio bioio-czi"):
        read(tmp_path / "a.czi")
