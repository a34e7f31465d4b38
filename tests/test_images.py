"""Images of every format are read exactly, by tile, or refused with a reason."""

import hashlib

import numpy as np
import pytest
import tifffile
import zarr
from image_writers import CHANNELS, NAMES, WRITERS, read, write_ome, write_pages, write_zarr
from PIL import Image

from cellsieve.errors import BadFieldError, UserError
from cellsieve.images import image_files, image_sha256, open_all, open_field, parse_channels


@pytest.mark.parametrize("name", WRITERS)
def test_channels_by_name_and_by_index(tmp_path, pixels, name):
    WRITERS[name](tmp_path / name, pixels)
    with open_field(tmp_path / name, CHANNELS) as field:
        assert field.shape == (130, 170)
        assert field.dtype == np.uint16
        assert field.channels == ("dapi", "aqua", "gold")
        assert field.missing == ()
        assert field.available == NAMES
        plane = field.plane("aqua")
        assert plane.shape == (130, 170)
        tile = plane[60:140, 100:103]
        assert tile.dtype == np.dtype(np.uint16)
        np.testing.assert_array_equal(tile, pixels[1, 60:140, 100:103])
    np.testing.assert_array_equal(read(tmp_path / name), pixels)
    by_index = read(tmp_path / name, {"dapi": 2, "other": "0"})
    np.testing.assert_array_equal(by_index, pixels[[2, 0]])


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
def test_pixel_types_are_kept(tmp_path, pixels, dtype):
    write_ome(tmp_path / "a.tif", (pixels / 300).astype(dtype))
    result = read(tmp_path / "a.tif")
    assert result.dtype == dtype
    np.testing.assert_array_equal(result, (pixels / 300).astype(dtype))


@pytest.mark.parametrize("dtype", [np.int16, np.uint32, np.complex64])
def test_other_pixel_types_are_refused(tmp_path, pixels, dtype):
    tifffile.imwrite(tmp_path / "a.tif", pixels[0].astype(dtype))
    with pytest.raises(BadFieldError, match="uint8, uint16 and floats"):
        read(tmp_path / "a.tif", {"dapi": 0})


def test_pixels_that_are_no_intensities_are_refused(tmp_path, pixels):
    tifffile.imwrite(tmp_path / "a.tif", pixels[0], photometric="miniswhite")
    with pytest.raises(BadFieldError, match="MINISWHITE"):
        read(tmp_path / "a.tif", {"dapi": 0})
    tifffile.imwrite(tmp_path / "a.tif", np.moveaxis(pixels, 0, 2), photometric="cielab")
    with pytest.raises(BadFieldError, match="CIELAB"):
        read(tmp_path / "a.tif", {"dapi": 0})


def test_a_missing_probe_is_told_and_a_missing_dapi_refused(tmp_path, pixels):
    write_ome(tmp_path / "a.tif", pixels)
    with open_field(tmp_path / "a.tif", {"dapi": "DAPI", "red": "Red", "far": 3}) as field:
        assert field.channels == ("dapi",)
        assert field.missing == ("red", "far")
    with pytest.raises(BadFieldError, match=r"'Hoechst'.*DAPI, Aqua, Gold"):
        read(tmp_path / "a.tif", {"dapi": "Hoechst"})


def test_a_name_wins_over_an_index(tmp_path, pixels):
    write_ome(tmp_path / "a.tif", pixels, names=["2", "405", "x"])
    result = read(tmp_path / "a.tif", {"dapi": 405, "a": "2", "b": 0})
    np.testing.assert_array_equal(result, pixels[[1, 0, 0]])


def test_channels_with_one_name_go_by_index(tmp_path, pixels):
    write_ome(tmp_path / "a.tif", pixels, names=["DAPI", "GFP", "GFP"])
    with open_field(tmp_path / "a.tif", {"dapi": "DAPI", "gfp": "GFP"}) as field:
        assert field.available == ("DAPI", "1", "2")
        assert field.missing == ("gfp",)
        assert any("GFP" in note for note in field.notes)


@pytest.mark.parametrize("kind", ["ome", "imagej", "zarr"])
def test_z_is_projected_by_tile_or_refused(tmp_path, kind):
    stack = np.random.default_rng(2).integers(0, 9999, (4, 3, 70, 90), dtype=np.uint16)
    if kind == "ome":
        write_ome(tmp_path / "a", stack, axes="ZCYX")
    elif kind == "imagej":
        labels = [f"{name}\nz" for _ in range(4) for name in NAMES]
        metadata = {"axes": "ZCYX", "Labels": labels}
        tifffile.imwrite(tmp_path / "a", stack, imagej=True, metadata=metadata)
    else:
        write_zarr(tmp_path / "a", stack, "0.5", axes="zcyx", scale=(1, 1, 0.5, 0.5))
    with pytest.raises(BadFieldError, match=r"z-stack of 4 planes.*projection"):
        read(tmp_path / "a")
    np.testing.assert_array_equal(read(tmp_path / "a", projection="max"), stack.max(axis=0))


def test_time_is_refused(tmp_path, pixels):
    tifffile.imwrite(tmp_path / "a.tif", pixels, imagej=True, metadata={"axes": "TYX"})
    with pytest.raises(BadFieldError, match="3 time points"):
        read(tmp_path / "a.tif", {"dapi": 0, "b": 2}, "max")


def test_pages_without_meaning_are_channels_only_when_each_is_counted(tmp_path, pixels):
    write_pages(tmp_path / "a.tif", pixels)
    with pytest.raises(BadFieldError, match="does not say whether"):
        read(tmp_path / "a.tif", {"dapi": 0})
    with pytest.raises(BadFieldError, match="does not say whether"):
        read(tmp_path / "a.tif", {"dapi": 0, "gold": "Gold"})
    result = read(tmp_path / "a.tif", {"dapi": 0, "gold": 2})
    np.testing.assert_array_equal(result, pixels[[0, 2]])
    with open_all(tmp_path / "a.tif") as field:
        assert field.available == ("0", "1", "2")
        assert any("no stated meaning" in note for note in field.notes)


def test_two_axes_without_meaning_are_refused(tmp_path, pixels):
    tifffile.imwrite(tmp_path / "a.tif", np.stack([pixels] * 5), photometric="minisblack")
    with pytest.raises(BadFieldError, match="5×3 planes"), open_all(tmp_path / "a.tif"):
        pass


def test_several_images_in_one_file_are_refused_but_not_a_thumbnail(tmp_path, pixels):
    with tifffile.TiffWriter(tmp_path / "two.tif", ome=True) as writer:
        writer.write(pixels[0])
        writer.write(pixels[1])
    with pytest.raises(BadFieldError, match="2 images"):
        read(tmp_path / "two.tif", {"dapi": 0})
    write_pages(tmp_path / "one.tif", pixels[:1])
    tifffile.imwrite(tmp_path / "one.tif", pixels[0, :16, :16], append=True, metadata=None)
    with open_field(tmp_path / "one.tif", {"dapi": 0}) as field:
        assert field.shape == (130, 170)
        assert any("smaller" in note for note in field.notes)


def test_an_image_spread_over_several_files_is_refused(tmp_path, pixels):
    write_ome(tmp_path / "a.tif", pixels[:1], names=NAMES[:1])
    with tifffile.TiffFile(tmp_path / "a.tif") as tif:
        text = tif.ome_metadata
    name = 'FileName="gone.tif">urn:uuid:1'
    text = text.replace('SizeC="1"', 'SizeC="2"').replace(
        "</Pixels>", f'<TiffData FirstC="1" PlaneCount="1"><UUID {name}</UUID></TiffData></Pixels>'
    )
    tifffile.tiffcomment(tmp_path / "a.tif", text.encode())
    with pytest.raises(BadFieldError, match="several files"):
        read(tmp_path / "a.tif", {"dapi": 0})


@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_grey_pictures(tmp_path, pixels, suffix):
    grey = (pixels[0] >> 8).astype(np.uint8)
    Image.fromarray(grey).save(tmp_path / f"a.{suffix}", quality=100)
    result = read(tmp_path / f"a.{suffix}", {"dapi": 0})[0]
    np.testing.assert_allclose(result.astype(int), grey, atol=2 if suffix == "jpg" else 0)


def test_16_bit_png(tmp_path, pixels):
    Image.fromarray(pixels[0]).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read(tmp_path / "a.png", {"dapi": 0})[0], pixels[0])


def test_a_png_named_tif_is_read_as_what_it_is(tmp_path, pixels):
    Image.fromarray(pixels[0]).save(tmp_path / "a.tif", format="png")
    np.testing.assert_array_equal(read(tmp_path / "a.tif", {"dapi": 0})[0], pixels[0])


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_colours(tmp_path, pixels, suffix):
    path = tmp_path / f"a.{suffix}"
    grey = (pixels[0] >> 8).astype(np.uint8)
    colour = np.moveaxis((pixels >> 8).astype(np.uint8), 0, 2)

    def write(array):
        if suffix == "png":
            Image.fromarray(array).save(path)
        else:
            tifffile.imwrite(path, array, photometric="rgb")

    write(np.dstack([grey] * 3))
    with open_all(path) as field:
        assert field.available == ("0",)
        np.testing.assert_array_equal(field.plane("0")[0:130, 0:170], grey)
    write(np.dstack([colour, grey]))
    with open_field(path, {"dapi": "B", "red": "R", "no": 3}) as field:
        assert field.available == ("R", "G", "B")
        assert field.missing == ("no",)
        assert "alpha channel not used" in field.notes
        np.testing.assert_array_equal(field.plane("dapi")[0:130, 0:170], colour[..., 2])


def test_one_file_a_channel(tmp_path, pixels):
    for name, plane in zip(("gray", "_R", "_G"), pixels, strict=True):
        tifffile.imwrite(
            tmp_path / f"a{name}.tif", plane, resolution=(40000, 40000), resolutionunit=3
        )
    pattern, channels = tmp_path / "a{channel}.tif", {"dapi": "gray", "red": "_R", "green": "_G"}
    np.testing.assert_array_equal(read(pattern, channels), pixels)
    with open_field(pattern, channels) as field:
        assert field.available == ("gray", "_R", "_G")
        assert field.pixel_size_um == pytest.approx(0.25)
    with pytest.raises(FileNotFoundError) as caught:
        read(pattern, {**channels, "blue": "_B"})
    assert caught.value.filename == str(tmp_path / "a_B.tif")
    tifffile.imwrite(tmp_path / "a_B.tif", pixels[0, 1:])
    with pytest.raises(BadFieldError, match=r"129×170 px.*130×170 px"):
        read(pattern, {**channels, "blue": "_B"})
    write_ome(tmp_path / "a_B.tif", pixels)
    with pytest.raises(BadFieldError, match="3 channels"):
        read(pattern, {**channels, "blue": "_B"})


def test_a_tinted_file_gives_the_plane_with_the_signal(tmp_path, pixels):
    grey = (pixels[0] >> 8).astype(np.uint8)
    nothing = np.full_like(grey, 7)
    pattern = tmp_path / "{channel}.png"
    tints = {
        "blue": [nothing, nothing, grey],
        "magenta": [grey // 2, nothing, grey],
        "mixed": [(pixels[1] >> 8).astype(np.uint8), nothing, grey],
    }
    for name, planes in tints.items():
        Image.fromarray(np.dstack(planes)).save(tmp_path / f"{name}.png")
    for name in ("blue", "magenta"):
        np.testing.assert_array_equal(read(pattern, {"dapi": name})[0], grey)
    with pytest.raises(BadFieldError, match="colours hold different things"):
        read(pattern, {"dapi": "mixed"})


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"imagej": True, "resolution": (4, 4), "metadata": {"unit": "micron"}}, 0.25),
        ({"imagej": True, "resolution": (4, 4), "metadata": {"unit": "\\u00B5m"}}, 0.25),
        ({"imagej": True, "resolution": (4, 2), "metadata": {"unit": "um"}}, None),
        ({"imagej": True, "resolution": (1, 1), "metadata": {"unit": "pixel"}}, None),
        ({"imagej": True, "resolution": (0.5, 0.5), "metadata": {"unit": "nm"}}, None),
        ({"resolution": (20000, 20000), "resolutionunit": "CENTIMETER"}, 0.5),
        ({"resolution": (50800, 50800), "resolutionunit": "INCH"}, 0.5),
        ({"resolution": (72, 72), "resolutionunit": "INCH"}, None),
        ({"resolution": (4, 4), "resolutionunit": "NONE"}, None),
        ({}, None),
    ],
)
def test_pixel_size_of_a_tiff(tmp_path, pixels, options, expected):
    tifffile.imwrite(tmp_path / "a.tif", pixels[0], **options)
    with open_field(tmp_path / "a.tif", {"dapi": 0}) as field:
        assert field.pixel_size_um == (None if expected is None else pytest.approx(expected))


@pytest.mark.parametrize(
    ("sizes", "expected", "note"),
    [
        ({"X": 0.325, "Y": 0.325}, 0.325, ""),
        ({"X": 325, "Y": 325, "unit": "nm"}, 0.325, ""),
        ({"X": 0.3, "Y": 0.4}, None, "not square"),
        ({"X": 264.6, "Y": 264.6}, None, "implausible"),
        ({"X": 1, "Y": 1, "unit": "pixel"}, None, ""),
        ({"X": 0.3}, None, ""),
        ({}, None, ""),
    ],
)
def test_pixel_size_of_an_ome_tiff(tmp_path, pixels, sizes, expected, note):
    unit = sizes.pop("unit", "µm")
    metadata = {f"PhysicalSize{a}": size for a, size in sizes.items()}
    metadata |= {f"PhysicalSize{a}Unit": unit for a in sizes}
    write_ome(tmp_path / "a.tif", pixels, **metadata)
    with open_field(tmp_path / "a.tif", CHANNELS) as field:
        assert field.pixel_size_um == (None if expected is None else pytest.approx(expected))
        assert bool(field.notes) == bool(note)
        assert all(note in line for line in field.notes)


def test_pixel_size_of_an_ome_zarr(tmp_path, pixels):
    for unit, scale, expected in [
        ("micrometer", 0.25, 0.25),
        ("nanometer", 250, 0.25),
        (None, 0.25, None),
    ]:
        write_zarr(tmp_path / "a.zarr", pixels, "0.5", unit=unit, scale=(1, scale, scale))
        with open_field(tmp_path / "a.zarr", CHANNELS) as field:
            assert field.pixel_size_um == expected


def test_an_ome_zarr_of_another_version_or_a_plate_is_refused(tmp_path, pixels):
    write_zarr(tmp_path / "a.zarr", pixels, "0.6")
    with pytest.raises(BadFieldError, match=r"0\.6"):
        read(tmp_path / "a.zarr")
    zarr.open_group(tmp_path / "p.zarr", mode="w", attributes={"ome": {"plate": {}}})
    with pytest.raises(BadFieldError, match=r"plate\.zarr/A/1/0"):
        read(tmp_path / "p.zarr")
    zarr.open_group(tmp_path / "n.zarr", mode="w")
    with pytest.raises(BadFieldError, match="no image at its top level"):
        read(tmp_path / "n.zarr")
    (tmp_path / "folder").mkdir()
    with pytest.raises(BadFieldError, match="not an OME-Zarr"):
        read(tmp_path / "folder")


def test_one_pixel(tmp_path):
    write_ome(tmp_path / "a.tif", np.full((3, 1, 1), 5, np.uint16))
    np.testing.assert_array_equal(read(tmp_path / "a.tif"), np.full((3, 1, 1), 5))


def test_no_pixel(tmp_path):
    write_zarr(tmp_path / "a.zarr", np.zeros((3, 0, 10), np.uint16), "0.5")
    with pytest.raises(BadFieldError, match="no image"):
        read(tmp_path / "a.zarr")


def test_files_and_their_digest(tmp_path):
    channels = {"dapi": "DAPI", "gold": 3}
    assert image_files("run/a.tif", channels) == [tmp_path.__class__("run/a.tif")]
    files = image_files(tmp_path / "a_{channel}.tif", channels)
    assert [file.name for file in files] == ["a_DAPI.tif", "a_3.tif"]
    files[0].write_bytes(b"one")
    files[1].write_bytes(b"two")
    assert image_sha256(files[:1]) == hashlib.sha256(b"one").hexdigest()
    lines = "".join(
        f"{name} {hashlib.sha256(data).hexdigest()}\n"
        for name, data in (("a_3.tif", b"two"), ("a_DAPI.tif", b"one"))
    )
    both = hashlib.sha256(lines.encode()).hexdigest()
    assert image_sha256(files) == both
    assert image_sha256([tmp_path]) == both
    files[0].rename(tmp_path / "b.tif")
    assert image_sha256([tmp_path]) != both


def test_channels_of_a_command_line():
    assert parse_channels(["dapi=DAPI", "gold=a=3"]) == {"dapi": "DAPI", "gold": "a=3"}
    for wrong in (["dapi"], ["=x"], ["dapi="], ["dapi=1", "dapi=2"]):
        with pytest.raises(UserError, match="--channel"):
            parse_channels(wrong)
