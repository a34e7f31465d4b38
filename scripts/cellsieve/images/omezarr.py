"""OME-Zarr (NGFF 0.4 and 0.5), by chunk."""

from pathlib import Path
from typing import Any

import numpy as np
import zarr

from cellsieve.errors import BadFieldError
from cellsieve.images.layers import Source, decoding, plausible_pixel_size

MICROMETRES = {
    "angstrom": 1e-4,
    "nanometer": 1e-3,
    "micrometer": 1.0,
    "millimeter": 1e3,
    "centimeter": 1e4,
    "meter": 1e6,
}


def open_omezarr(path: Path) -> Source:
    """Open the full resolution of an OME-Zarr image; see `cellsieve.images.open_field`."""
    if not any((path / name).is_file() for name in ("zarr.json", ".zgroup", ".zattrs")):
        raise BadFieldError(f"{path.name} is a folder that is not an OME-Zarr image")
    with decoding(path):
        group = zarr.open_group(path, mode="r")
        attributes = dict(group.attrs)
        ome = attributes.get("ome", attributes)
        image = _multiscale(ome, path)
        array = group[image["datasets"][0]["path"]]
        notes: list[str] = []
        absent = array.nchunks - array.nchunks_initialized
        if absent:
            notes.append(f"{absent} of {array.nchunks} chunks are absent and read as 0")
        return Source(
            path=path,
            array=array,
            axes="".join(axis["name"].upper() for axis in image["axes"]),
            names=tuple(c.get("label") for c in ome.get("omero", {}).get("channels", [])),
            pixel_size_um=_pixel_size(image, notes),
            notes=notes,
        )


def _multiscale(ome: dict[str, Any], path: Path) -> dict[str, Any]:
    if "plate" in ome or "well" in ome:
        raise BadFieldError(
            f"{path.name} is a plate or a well of several fields; give the folder of one image, "
            "for example plate.zarr/A/1/0"
        )
    if "multiscales" not in ome:
        raise BadFieldError(
            f"{path.name} has no image at its top level (multiscales); give the folder of one "
            f"image in it, for example {path.name}/0"
        )
    if len(ome["multiscales"]) > 1:
        raise BadFieldError(f"{path.name} holds {len(ome['multiscales'])} images; a field is one")
    image = ome["multiscales"][0]
    version = str(ome.get("version", image.get("version", "0.4")))
    if version not in {"0.4", "0.5"}:
        raise BadFieldError(f"{path.name} is OME-Zarr {version}; 0.4 and 0.5 can be read")
    return image


def _pixel_size(image: dict[str, Any], notes: list[str]) -> float | None:
    """Multiply the scales of the dataset and of the whole image; a size needs its unit."""
    scale = np.ones(len(image["axes"]))
    for holder in (image["datasets"][0], image):
        for transform in holder.get("coordinateTransformations", []):
            if transform["type"] == "scale":
                scale = scale * np.asarray(transform["scale"], float)
    sizes = {
        axis["name"]: size * MICROMETRES.get(axis.get("unit"), np.nan)
        for axis, size in zip(image["axes"], scale, strict=True)
    }
    if np.isnan([sizes["x"], sizes["y"]]).any():
        return None
    return plausible_pixel_size(sizes["x"], sizes["y"], notes)
