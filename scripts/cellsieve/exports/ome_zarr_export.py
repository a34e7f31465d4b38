"""A field as OME-Zarr (NGFF 0.4): channels, nuclei and anomaly map as pyramids."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dask
import dask.array as da
import numpy as np
import zarr
from numcodecs import Blosc
from ome_zarr.format import FormatV04
from ome_zarr.scale import Methods
from ome_zarr.writer import write_image, write_labels

from cellsieve.pictures import channel_colour, contrast_limits

CHUNK = 512
BAND = 512  # rows that are read at once; whole rows, since many files are stored in strips
SMALLEST = 256  # no level is added whose longest side would be below this
LABELS = "nuclei"
ANOMALY_MAP = "anomaly_map"

_FORMAT = FormatV04()
_COMPRESSOR = Blosc(cname="zstd", clevel=3, shuffle=Blosc.SHUFFLE)


def write_field(
    folder: Path,
    name: str,
    channels: Mapping[str, Any],
    labels: Any,
    *,
    pixel_size_um: float | None = None,
    anomaly_map: tuple[Any, int] | None = None,
) -> None:
    """Write one field as an OME-Zarr folder.

    Parameters
    ----------
    folder : Path
        The folder to make; use `cellsieve.files.atomic` around the call.
    name : str
        Name of the image in its metadata.
    channels : mapping of str to array-like, (H, W)
        Role to plane, in the order to write; all of one shape and dtype.
    labels : array-like, (H, W), integer
        Written as ``labels/nuclei``.
    pixel_size_um : float, optional
        Without one the axes have no unit and lengths are in pixels.
    anomaly_map : tuple of (array-like (h, w), int), optional
        Score map, NaN where there is no score, and the number of field pixels
        per map pixel; written as a second image, ``anomaly_map``.

    Notes
    -----
    Bands of 512 rows are read one after the other, so memory grows with the
    field's width only, and the same field always gives the same bytes. Levels
    of an image are block means, levels of labels the nearest label and those of
    the map the nearest score.
    """
    group = zarr.open_group(folder, mode="w", zarr_format=2)
    stack = da.stack([_lazy(plane) for plane in channels.values()])
    mask = _lazy(labels)
    with dask.config.set(scheduler="synchronous"):
        write_image(stack, group, method=Methods.LOCAL_MEAN, **_options(stack, name, pixel_size_um))
        group.attrs["omero"] = {"channels": _channel_display(channels), "rdefs": {"model": "color"}}
        write_labels(
            mask,
            group,
            method=Methods.NEAREST,
            scaler=None,
            **_options(mask, LABELS, pixel_size_um),
        )
        if anomaly_map is not None:
            _write_map(group.create_group(ANOMALY_MAP), *anomaly_map, pixel_size_um)


def _write_map(group: zarr.Group, scores: Any, step: int, pixel_size_um: float | None) -> None:
    plane = _lazy(scores)
    options = _options(plane, ANOMALY_MAP, pixel_size_um, step)
    # a mean would be NaN wherever one of its pixels is
    write_image(plane, group, method=Methods.NEAREST, **options)
    # the middle of the first map pixel is not the middle of the field's first pixel
    offset = (step - 1) / 2 * (pixel_size_um or 1.0)
    multiscales = group.attrs["multiscales"]
    for dataset in multiscales[0]["datasets"]:
        for transform in dataset["coordinateTransformations"]:
            if "translation" in transform:
                transform["translation"] = [v + offset for v in transform["translation"]]
    group.attrs["multiscales"] = multiscales


def _options(
    array: da.Array, name: str, pixel_size_um: float | None, step: int = 1
) -> dict[str, Any]:
    """Give what all pyramids share; ``step`` is the field pixels per pixel of this one."""
    axes = "cyx"[-array.ndim :]
    longest = max(array.shape)
    size = step * (pixel_size_um or 1.0)
    return {
        "name": name,
        "fmt": _FORMAT,
        "axes": axes,
        "axes_units": dict.fromkeys("yx", "micrometer") if pixel_size_um else None,
        "scale": {axis: 1.0 if axis == "c" else size for axis in axes},
        "scale_factors": [2**n for n in range(1, 32) if longest >> n >= SMALLEST],
        "storage_options": {
            "chunks": (1, CHUNK, CHUNK)[-array.ndim :],
            "compressor": _COMPRESSOR,
        },
    }


def _channel_display(channels: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Names, colours and contrast of the channels, as OMERO and napari read them."""
    shown = []
    for position, (role, plane) in enumerate(channels.items()):
        low, high = contrast_limits(plane)
        whole = np.issubdtype(plane.dtype, np.integer)
        bottom, top = (0, np.iinfo(plane.dtype).max) if whole else (min(low, 0.0), high)
        shown.append(
            {
                "label": role,
                "color": "{:02X}{:02X}{:02X}".format(*channel_colour(role, position)),
                "active": True,
                "window": {"min": bottom, "max": top, "start": low, "end": high},
            }
        )
    return shown


def _lazy(plane: Any) -> da.Array:
    """Wrap a plane for dask; ``name=False`` since hashing it would read all of it."""
    empty = np.empty((0, 0), plane.dtype)
    return da.from_array(plane, chunks=(BAND, plane.shape[1]), name=False, meta=empty)
