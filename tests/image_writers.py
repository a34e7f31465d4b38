"""Images of every format that is read, written small, and how a test reads them back."""

import numpy as np
import tifffile
import zarr

from cellsieve.images import open_field

NAMES = ("DAPI", "Aqua", "Gold")
CHANNELS = {"dapi": "DAPI", "aqua": "Aqua", "gold": "Gold"}


def write_ome(path, pixels, axes="CYX", names=NAMES, **metadata):
    metadata |= {"axes": axes, "Channel": {"Name": list(names)}}
    tifffile.imwrite(
        path,
        pixels,
        ome=True,
        tile=(64, 64),
        compression="zlib",
        photometric="minisblack",
        metadata=metadata,
    )


def write_pages(path, pixels, **options):
    """A TIFF of several pages that says nothing about their meaning."""
    with tifffile.TiffWriter(path) as writer:
        for page in pixels:
            writer.write(page, metadata=None, photometric="minisblack", **options)


def write_zarr(path, pixels, version, *, unit="micrometer", scale=(1, 0.25, 0.25), axes="cyx"):
    group = zarr.open_group(path, mode="w", zarr_format=2 if version == "0.4" else 3)
    group.create_array("0", data=pixels, chunks=(1,) * (pixels.ndim - 2) + (64, 64))
    kinds = {"c": "channel", "z": "space", "y": "space", "x": "space"}
    units = {"unit": unit} if unit else {}
    image = {
        "axes": [
            {"name": a, "type": kinds[a], **(units if kinds[a] == "space" else {})} for a in axes
        ],
        "datasets": [
            {
                "path": "0",
                "coordinateTransformations": [{"type": "scale", "scale": [*map(float, scale)]}],
            }
        ],
    }
    omero = {"channels": [{"label": name} for name in NAMES]}
    if version == "0.4":
        group.attrs.update({"multiscales": [{"version": "0.4", **image}], "omero": omero})
    else:
        group.attrs["ome"] = {"version": version, "multiscales": [image], "omero": omero}


def read(path, channels=CHANNELS, projection="refuse", step=64):
    """Read all planes of a field tile by tile."""
    with open_field(path, channels, projection) as field:
        height, width = field.shape
        return np.stack(
            [
                np.block(
                    [
                        [
                            field.plane(role)[y : y + step, x : x + step]
                            for x in range(0, width, step)
                        ]
                        for y in range(0, height, step)
                    ]
                )
                for role in field.channels
            ]
        )


WRITERS = {
    "ome_tiled.tif": write_ome,
    "imagej.tif": lambda path, a: tifffile.imwrite(
        path, a, imagej=True, metadata={"axes": "CYX", "Labels": list(NAMES)}
    ),
    "ome_strips.tif": lambda path, a: tifffile.imwrite(
        path,
        a,
        ome=True,
        compression="lzw",
        rowsperstrip=7,
        photometric="minisblack",
        metadata={"axes": "CYX", "Channel": {"Name": list(NAMES)}},
    ),
    "big_endian.tif": lambda path, a: tifffile.imwrite(
        path,
        a,
        ome=True,
        byteorder=">",
        photometric="minisblack",
        metadata={"axes": "CYX", "Channel": {"Name": list(NAMES)}},
    ),
    "ngff04.zarr": lambda path, a: write_zarr(path, a, "0.4"),
    "ngff05.zarr": lambda path, a: write_zarr(path, a, "0.5"),
}
