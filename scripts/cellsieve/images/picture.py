"""PNG and JPEG: small enough to be decoded whole."""

from pathlib import Path

import imagecodecs
import numpy as np
from PIL import Image

from cellsieve.errors import BadFieldError
from cellsieve.images.layers import Source, decoding


def open_picture(path: Path) -> Source:
    """Decode a PNG or JPEG; see `cellsieve.images.open_field`.

    Notes
    -----
    No pixel size is taken from them: their dots per inch are a printer's.
    """
    data = path.read_bytes()
    with decoding(path):
        pixels = _png(data) if data.startswith(b"\x89PNG") else _jpeg(path)
    if pixels.ndim == 2:
        return Source(path, pixels, "YX")
    if pixels.shape[2] == 2:  # grey and alpha
        return Source(path, pixels[..., 0], "YX", notes=["alpha channel not used"])
    return Source(path, pixels, "YXS", rgb=True)


def _png(data: bytes) -> np.ndarray:
    # Pillow would turn 16-bit colours into 8-bit ones
    return imagecodecs.png_decode(data)


def _jpeg(path: Path) -> np.ndarray:
    # imagecodecs would fill what a cut file lacks with grey, without an error
    Image.MAX_IMAGE_PIXELS = None  # a large scan is no attack here
    with Image.open(path) as picture:
        if picture.mode not in {"L", "RGB"}:
            raise BadFieldError(f"{path.name} is a {picture.mode} JPEG; save it as grey or RGB")
        return np.asarray(picture)
