"""TIFF and OME-TIFF, by tile."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import tifffile
import zarr

from cellsieve.errors import BadFieldError
from cellsieve.images.layers import UNSTATED, Source, decoding, plausible_pixel_size

# µm in one unit, for the units that OME-XML and ImageJ use
MICROMETRES = {
    "m": 1e6,
    "cm": 1e4,
    "mm": 1e3,
    "µm": 1.0,
    "μm": 1.0,  # the Greek letter; the line above has the micro sign
    "um": 1.0,
    "micron": 1.0,
    "microns": 1.0,
    "micrometer": 1.0,
    "nm": 1e-3,
    "inch": 25400.0,
    "in": 25400.0,
}


@contextmanager
def open_tiff(path: Path) -> Iterator[Source]:
    """Open the first image of a TIFF as a source; see `cellsieve.images.open_field`."""
    with decoding(path):
        tif = tifffile.TiffFile(path)
    with tif:
        with decoding(path):
            source = _source(tif, path)
        yield source


def _source(tif: tifffile.TiffFile, path: Path) -> Source:
    if not tif.series:
        raise BadFieldError(f"{path.name} holds no image")
    series = tif.series[0]
    notes: list[str] = []
    _check_single(tif, path, notes)
    _check_complete(tif, series, path, notes)
    rgb = _check_photometric(tif, series.keyframe, path)
    return Source(
        path=path,
        array=_array(tif, series, path),
        axes="".join(a if a in "TCZYXS" else UNSTATED if a in "IQ" else a for a in series.axes),
        names=_channel_names(tif, series),
        rgb=rgb,
        strips=series.dataoffset is None and not series.keyframe.is_tiled,
        pixel_size_um=_pixel_size(tif, notes),
        notes=notes,
    )


class Mapped:
    """Uncompressed pixels, mapped for each read alone: what was read does not stay in memory."""

    def __init__(self, tif: tifffile.TiffFile, series: tifffile.TiffPageSeries, path: Path):
        self._path, self._offset = path, series.dataoffset
        self.shape: tuple[int, ...] = series.shape
        self.dtype: np.dtype = series.dtype.newbyteorder(tif.byteorder)

    def __getitem__(self, index: Any) -> np.ndarray:
        """Read a part, indexed as a numpy array."""
        return np.array(np.memmap(self._path, self.dtype, "r", self._offset, self.shape)[index])


def _array(tif: tifffile.TiffFile, series: tifffile.TiffPageSeries, path: Path) -> Any:
    """Return something sliceable that reads no more than it must."""
    if series.dataoffset is not None:
        return Mapped(tif, series, path)
    return zarr.open_array(series.aszarr(level=0), mode="r")


def _check_single(tif: tifffile.TiffFile, path: Path, notes: list[str]) -> None:
    """Refuse several images in one file, or one image in several files."""
    first, *others = tif.series
    if any(other.size >= first.size for other in others):
        raise BadFieldError(
            f"{path.name} holds {len(tif.series)} images; a field is one image: save each as a file"
        )
    if others:
        notes.append(f"{len(others)} smaller images in the file (labels, previews) are not used")
    if any(page is None or page.parent is not tif for page in first.pages):
        raise BadFieldError(
            f"{path.name} is one part of an OME-TIFF of several files; save it as one file"
        )


def _check_complete(
    tif: tifffile.TiffFile, series: tifffile.TiffPageSeries, path: Path, notes: list[str]
) -> None:
    """Refuse a file that ends before its data do; tifffile only logs that.

    The list of pages must end with a 0, and all pixels must lie in the file.
    """
    size = path.stat().st_size
    handle = tif.filehandle
    handle.seek(tif.pages.next_page_offset)
    if any(handle.read(tif.tiff.offsetsize)):
        raise BadFieldError(f"{path.name} is cut short: pages are missing at its end")
    if series.dataoffset is not None:
        end = series.dataoffset + series.nbytes
    else:
        pieces = [zip(p.dataoffsets, p.databytecounts, strict=True) for p in series.pages]
        ends = [offset + count if count else 0 for offset, count in chain.from_iterable(pieces)]
        end, absent = max(ends, default=0), ends.count(0)
        if absent:
            notes.append(f"{absent} of {len(ends)} pieces of the image are absent and read as 0")
    if end > size:
        raise BadFieldError(f"{path.name} is cut short: {size} of at least {end} bytes are there")


def _check_photometric(tif: tifffile.TiffFile, page: tifffile.TiffPage, path: Path) -> bool:
    """Refuse pixels that are not intensities; return whether they are RGB."""
    kind = page.photometric.name
    if kind == "RGB" or (kind == "YCBCR" and page.compression.name.endswith("JPEG")):
        return True
    # ImageJ keeps intensities as they are and only adds a table of display colours
    if kind == "MINISBLACK" or (kind in {"PALETTE", "MINISWHITE"} and tif.is_imagej):
        return False
    raise BadFieldError(f"{path.name} stores its pixels as {kind}; save it as grey values or RGB")


def _channel_names(
    tif: tifffile.TiffFile, series: tifffile.TiffPageSeries
) -> tuple[str | None, ...]:
    """Return the names of the channels in OME-XML, or ImageJ's labels of the first slices."""
    if tif.is_ome:
        return tuple(c.get("Name") for c in _ome_pixels(tif).iterfind("{*}Channel"))
    labels = (tif.imagej_metadata or {}).get("Labels") if tif.is_imagej else None
    if not labels:
        return ()
    # the channel varies fastest
    count = dict(zip(series.axes, series.shape, strict=True)).get("C", 1)
    return tuple(label.partition("\n")[0].strip() or None for label in labels[:count])


def _ome_pixels(tif: tifffile.TiffFile) -> ElementTree.Element:
    """Return the first image's Pixels element."""
    return ElementTree.fromstring(tif.ome_metadata).find("{*}Image/{*}Pixels")


def _pixel_size(tif: tifffile.TiffFile, notes: list[str]) -> float | None:
    """Return what OME-XML, ImageJ or the resolution tags state, in this order."""
    if tif.is_ome:
        pixels = _ome_pixels(tif)
        sizes = [
            float(pixels.get(f"PhysicalSize{a}", "nan"))
            * MICROMETRES.get(pixels.get(f"PhysicalSize{a}Unit", "µm"), np.nan)
            for a in "XY"
        ]
        return None if np.isnan(sizes).any() else plausible_pixel_size(*sizes, notes)
    page = tif.pages.first
    if tif.is_imagej:
        unit = (tif.imagej_metadata or {}).get("unit", "")
        unit = re.sub(r"\\u00b5|\\u03bc", "µ", str(unit), flags=re.IGNORECASE)
    else:
        unit = {2: "inch", 3: "cm"}.get(int(page.resolutionunit), "")
    pixels_per_unit = [_ratio(page, f"{a}Resolution") for a in "XY"]
    if unit not in MICROMETRES or not all(pixels_per_unit):
        return None
    return plausible_pixel_size(*(MICROMETRES[unit] / n for n in pixels_per_unit), notes)


def _ratio(page: tifffile.TiffPage, tag: str) -> float:
    """Return a rational tag, 0 when it is absent or not a number."""
    numerator, denominator = page.tags[tag].value if tag in page.tags else (0, 1)
    return numerator / denominator if denominator else 0.0
