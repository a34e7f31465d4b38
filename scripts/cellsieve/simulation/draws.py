"""Random generators that depend on what is drawn, not on when."""

import zlib

import numpy as np


def generator(purpose: str, *key: int) -> np.random.Generator:
    """Return the generator of one thing.

    Every nucleus, every tile of noise has its own, so that an image does not
    depend on the order or the portions in which it is rendered.

    Parameters
    ----------
    purpose : str
        What is drawn; equal keys of different purposes are independent.
    key : int
        Seeds and indices, not negative.
    """
    return np.random.Generator(np.random.SFC64([zlib.crc32(purpose.encode()), *key]))
