"""Write a simulated field: image, labels and truth, each whole or not at all."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import tifffile
import zarr
from tqdm import tqdm

from cellsieve.files import atomic, scratch
from cellsieve.simulation.render import TILE, strips
from cellsieve.simulation.scene import Field, compose
from cellsieve.simulation.slide import CHANNELS, Slide
from cellsieve.simulation.truth import Tally
from cellsieve.stores import write_labels


def write_field(
    field: Field, slide: Slide, image: Path, labels: Path, truth: Path, tile_rows: int = 1
) -> pd.DataFrame:
    """Draw a field of any size and write it.

    The pixels wait in a temporary folder beside the image, because a TIFF
    has its channels one after the other while they are drawn together.

    Parameters
    ----------
    field : Field
    slide : Slide
    image : Path
        OME-TIFF, uint16, axes CYX; BigTIFF when needed.
    labels : Path
        Label image, see `stores.write_labels`.
    truth : Path
        TSV, a row a label, see `Tally.table`.
    tile_rows : int
        Rows of 512 px tiles drawn at a time; the files do not depend on it.

    Returns
    -------
    DataFrame
        The truth.
    """
    with scratch(image) as folder:
        pixels = _waiting(folder, "image", (len(CHANNELS), *field.shape), np.uint16)
        owners = _waiting(folder, "labels", field.shape, np.uint32)
        scene = compose(field, slide)
        tally = Tally(len(scene.cells), field.shape)
        rows = strips(field, slide, scene, tally, tile_rows)
        total = -(-field.height // (TILE * tile_rows))
        for strip in tqdm(rows, desc="strips", total=total, disable=None):
            bottom = strip.top + strip.labels.shape[0]
            pixels[:, strip.top : bottom] = strip.image
            owners[strip.top : bottom] = strip.labels
        write_image(image, pixels, field.pixel_size_um)
        write_labels(labels, owners, field.pixel_size_um, tally.lookup())
    cells = tally.table(scene.cells)
    with atomic(truth) as part:
        cells.to_csv(part, sep="\t", index=False)
    return cells


def write_image(path: Path, pixels: Any, pixel_size_um: float) -> None:
    """Write channels as a tiled, compressed OME-TIFF whose bytes depend on them alone.

    Parameters
    ----------
    path : Path
        Written atomically.
    pixels : array-like, (C, H, W), uint16
        Read tile by tile; may be larger than memory.
    pixel_size_um : float
        Micrometres a pixel.
    """
    metadata: dict[str, Any] = {"axes": "CYX", "Channel": {"Name": list(CHANNELS)}}
    # a fixed identifier: a random one would make every run's file differ
    metadata["UUID"] = "urn:uuid:00000000-0000-0000-0000-000000000000"
    for axis in "XY":
        metadata[f"PhysicalSize{axis}"] = pixel_size_um
        metadata[f"PhysicalSize{axis}Unit"] = "µm"
    with atomic(path) as part:
        tifffile.imwrite(
            part,
            _tiles(pixels),
            shape=pixels.shape,
            dtype=np.uint16,
            ome=True,
            bigtiff=int(np.prod(pixels.shape)) * 2 > 2**31,
            photometric="minisblack",
            tile=(TILE, TILE),
            compression="zlib",
            compressionargs={"level": 1},  # noise hardly shrinks further
            predictor=True,
            metadata=metadata,
            software="cellsieve",
        )


def _waiting(folder: Path, name: str, shape: tuple[int, ...], dtype: Any) -> zarr.Array:
    chunks = (*(1 for _ in shape[:-2]), TILE, TILE)
    return zarr.create_array(
        folder / name, shape=shape, dtype=dtype, chunks=chunks, compressors=None
    )


def _tiles(pixels: Any) -> Iterator[np.ndarray]:
    """Yield full tiles, channel by channel, padded with zeros at the border."""
    channels, height, width = pixels.shape
    for channel in range(channels):
        for top in range(0, height, TILE):
            row = np.asarray(pixels[channel, top : top + TILE])
            for left in range(0, width, TILE):
                block = row[:, left : left + TILE]
                tile = np.zeros((TILE, TILE), np.uint16)
                tile[: block.shape[0], : block.shape[1]] = block
                yield tile
