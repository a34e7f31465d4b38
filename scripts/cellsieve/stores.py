"""The files that pixels travel in between stages: zarr zips and label images."""

import math
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
import zarr

from cellsieve.errors import UserError
from cellsieve.files import atomic, scratch, zip_folder

CHUNK = 512
LARGEST_LABEL = 2**32 - 1


@contextmanager
def create_zip(path: Path | str) -> Iterator[zarr.Group]:
    """Open a zarr group that becomes one zip file when the block ends.

    Parameters
    ----------
    path : path-like
        Ends in ``.zarr.zip``; appears complete or not at all, and the same
        content always has the same bytes.

    Yields
    ------
    zarr.Group
        Make arrays in it with `add_plane`, attributes with ``group.attrs``.
    """
    with scratch(path) as folder:
        yield zarr.open_group(folder, mode="w", zarr_format=3)
        with atomic(path) as part:
            zip_folder(folder, part)


def add_plane(group: zarr.Group, name: str, shape: tuple[int, int], dtype: Any) -> zarr.Array:
    """Make an empty (all zero) 2-D array in chunks of 512×512 px."""
    return group.create_array(
        name, shape=shape, dtype=dtype, chunks=(CHUNK, CHUNK), fill_value=0, overwrite=True
    )


@contextmanager
def open_zip(path: Path | str) -> Iterator[zarr.Group]:
    """Open a store written by `create_zip` for reading."""
    with zarr.storage.ZipStore(path, mode="r") as store:
        yield zarr.open_group(store, mode="r")


@contextmanager
def open_labels(path: Path | str) -> Iterator[Any]:
    """Open a label image; slice it as a 2-D array and only the tiles needed are read.

    Parameters
    ----------
    path : path-like
        A TIFF with one 2-D plane of labels (0 = background).

    Yields
    ------
    array-like, (H, W), unsigned integer

    Raises
    ------
    UserError
        If it is no TIFF.
    """
    with ExitStack() as stack:
        try:
            tif = stack.enter_context(tifffile.TiffFile(path))
            store = stack.enter_context(tif.series[0].aszarr(level=0))
        except (tifffile.TiffFileError, IndexError) as error:
            raise UserError(f"{path}: not a TIFF, as label images must be, or damaged") from error
        yield zarr.open_array(store, mode="r")


def check_labels(labels: Any, shape: tuple[int, int], field: str, path: Path | str) -> None:
    """Refuse a label image that is not of integers of its field's size, naming both."""
    if labels.shape != shape or labels.dtype.kind not in "iu":
        sizes = ["×".join(map(str, size)) for size in (labels.shape, shape)]
        raise UserError(
            f"field {field}: {path} is {labels.dtype} of {sizes[0]} px; "
            f"allowed: integers of {sizes[1]} px"
        )


def write_labels(
    path: Path | str,
    labels: Any,
    pixel_size_um: float | None = None,
    lookup: np.ndarray | None = None,
) -> None:
    """Write labels as a tiled, compressed OME-TIFF, uint32; BigTIFF when needed.

    Parameters
    ----------
    path : path-like
        The file to write, atomically.
    labels : array-like, (H, W), integer
        Read tile by tile; may be larger than memory.
    pixel_size_um : float, optional
        Recorded in the OME metadata; none is invented when it is missing.
    lookup : ndarray, (n,), uint32, optional
        New label for each old one.
    """
    height, width = labels.shape
    metadata: dict[str, Any] = {"axes": "YX", "Name": "nuclei"}
    # a fixed identifier: a random one would make every run's file differ
    metadata["UUID"] = "urn:uuid:00000000-0000-0000-0000-000000000000"
    if pixel_size_um:
        for axis in "XY":
            metadata[f"PhysicalSize{axis}"] = pixel_size_um
            metadata[f"PhysicalSize{axis}Unit"] = "µm"
    with atomic(path) as part:
        tifffile.imwrite(
            part,
            _tiff_tiles(labels, lookup),
            shape=(height, width),
            dtype=np.uint32,
            ome=True,
            bigtiff=height * width * 4 > 2**31,
            tile=(CHUNK, CHUNK),
            compression="zlib",
            metadata=metadata,
            software="cellsieve",
        )


def _tiff_tiles(labels: Any, lookup: np.ndarray | None) -> Iterable[np.ndarray]:
    """Yield full tiles in row-major order, padded with background at the border."""
    height, width = labels.shape
    for row in range(math.ceil(height / CHUNK)):
        for col in range(math.ceil(width / CHUNK)):
            y, x = row * CHUNK, col * CHUNK
            block = np.asarray(labels[y : y + CHUNK, x : x + CHUNK])
            block = block.astype(np.uint32) if lookup is None else lookup[block]
            tile = np.zeros((CHUNK, CHUNK), np.uint32)
            tile[: block.shape[0], : block.shape[1]] = block
            yield tile
