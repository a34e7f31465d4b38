"""What an engine must say for its network to be trained."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor, nn

SMALLEST = 0.06  # of a typical nucleus' area: a micronucleus is no nucleus


class Example(NamedTuple):
    """A picture at a network's scale and what is known about it.

    Attributes
    ----------
    picture : ndarray, (s, s), float32
        A typical nucleus is about 1, background 0.
    labels : ndarray, (s, s), int32
        0 = background, or not known.
    ignored : ndarray, (s, s), bool
        Where nothing is known; a network must not learn from it.
    """

    picture: np.ndarray
    labels: np.ndarray
    ignored: np.ndarray


class Recipe(NamedTuple):
    """How the network of an engine is trained.

    Attributes
    ----------
    engine : str
        Name in `cellsieve.segmenters.ENGINES`.
    diameter : float
        Pixels of a typical nucleus in the pictures.
    side : int
        Of a picture in pixels.
    pictures : int
        Of a step.
    rate : float
        The highest learning rate.
    figure : str
        What the second value of ``loss`` is, as a column of the curve.
    build : callable
        ``build(start)`` returns the network in training mode: with the weights
        ``start``, a mapping of tensors, or with first weights drawn from
        PyTorch's generator when it is None.
    collate : callable
        ``collate(examples)`` returns the batch, a tuple (of tuples) of tensors.
    loss : callable
        ``loss(network, batch)`` returns the loss, a Tensor (), and a figure to
        follow, a float.
    notes : mapping of str to str
        What the weights' file says beside engine, version and diameter, and
        what `cellsieve.segmenters.load_segmenter` needs to build the network.
    """

    engine: str
    diameter: float
    side: int
    pictures: int
    rate: float
    figure: str
    build: Callable[[Mapping[str, Tensor] | None], nn.Module]
    collate: Callable[[Sequence[Example]], Any]
    loss: Callable[[nn.Module, Any], tuple[Tensor, float]]
    notes: Mapping[str, str] = {}
