"""What the vote network learns from labels, and what may be ignored."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor, nn
from torch.nn import functional

from cellsieve.segmenters.vote_network import VoteNetwork
from cellsieve.segmenters.votes import DIAMETER
from cellsieve.training.recipe import Example, Recipe

_SEAM = 5.0  # weight of a pixel near two nuclei, beside 1 of any other
_NEAR = 2  # px along rows and columns: so near to both of them
_OFFSETS = 0.1  # weight of a pixel of distance beside the cross-entropy


class Batch(NamedTuple):
    """Pictures and what is to be predicted for them.

    Attributes
    ----------
    pictures : Tensor, (B, 1, s, s), float32
    nucleus : Tensor, (B, s, s), float32
        1 in nuclei, else 0.
    offsets : Tensor, (B, 2, s, s), float32
        Rows and columns from each pixel of a nucleus to its centre, px.
    weight : Tensor, (B, s, s), float32
        Of a pixel's nucleus-or-not; 0 is ignored. Where nuclei meet it counts more, after
        Ronneberger et al., MICCAI 2015, whose weight fades with the distance.
    share : Tensor, (B, s, s), float32
        Of a pixel's offset; 0 outside nuclei.
    """

    pictures: Tensor
    nucleus: Tensor
    offsets: Tensor
    weight: Tensor
    share: Tensor


def targets(labels: np.ndarray, ignored: np.ndarray) -> tuple[np.ndarray, ...]:
    """Turn the labels of a picture into what the network should predict.

    Parameters
    ----------
    labels : ndarray, (s, s), integer
        0 = background.
    ignored : ndarray, (s, s), bool
        Where nothing is known.

    Returns
    -------
    nucleus, offsets, weight, share : ndarray, float32
        As in `Batch`, of one picture.
    """
    inside = labels > 0
    index = np.arange(labels.max() + 1)
    area = np.bincount(labels.ravel(), minlength=len(index))
    centres = np.zeros((2, len(index)))
    for axis, places in enumerate(np.indices(labels.shape)):
        centres[axis] = ndimage.sum(places, labels, index) / np.maximum(area, 1)
    offsets = centres[:, labels] - np.indices(labels.shape)
    share = np.where(inside, 1 / np.sqrt(np.maximum(area, 20.0))[labels], 0)
    weight = (inside | ~ignored) * np.where(_seams(labels), _SEAM, 1)
    return tuple(a.astype(np.float32) for a in (inside, offsets * inside, weight, share))


def _seams(labels: np.ndarray) -> np.ndarray:
    """Pixels near two nuclei at least, (s, s) bool; they part what would be merged."""
    around = (2 * _NEAR + 1,) * 2
    last = ndimage.maximum_filter(labels, around)
    first = ndimage.minimum_filter(np.where(labels > 0, labels, labels.max() + 1), around)
    return (last > 0) & (first != last)


def loss(network: nn.Module, batch: Batch) -> tuple[Tensor, float]:
    """Compare the network's prediction with a batch.

    Cross-entropy and Dice loss of nucleus or not; the length of the error of
    the offsets, in which small nuclei count nearly as much as large ones.

    Returns
    -------
    loss : Tensor, ()
    error : float
        Mean length of the error of the offsets, px.
    """
    predicted = network(batch.pictures).float()
    logits, weight = predicted[:, 0], batch.weight
    pixels = functional.binary_cross_entropy_with_logits(logits, batch.nucleus, weight)
    share = logits.sigmoid() * weight
    both = (share * batch.nucleus).sum((1, 2))
    dice = 1 - (2 * both + 1) / (share.sum((1, 2)) + (weight * batch.nucleus).sum((1, 2)) + 1)
    wrong = (predicted[:, 1:] - batch.offsets).square().sum(1).add(0.01).sqrt()
    error = (wrong * batch.share).sum() / batch.share.sum().clamp(min=1e-3)
    return 2 * pixels + dice.mean() + _OFFSETS * error, error.item()


def collate(examples: Sequence[Example]) -> Batch:
    """Put pictures and what is to be predicted for them together."""
    parts = [(e.picture[None], *targets(e.labels, e.ignored)) for e in examples]
    return Batch(*(torch.from_numpy(np.stack(part)) for part in zip(*parts, strict=True)))


def build(start: Mapping[str, Tensor] | None) -> VoteNetwork:
    """Make the network, with given weights or with random ones."""
    network = VoteNetwork()
    if start is not None:
        network.load_state_dict(start)
    return network


RECIPE = Recipe(
    engine="votes",
    diameter=float(DIAMETER),
    side=192,
    pictures=8,
    rate=2e-3,
    figure="offset_error_px",
    build=build,
    collate=collate,
    loss=loss,
)
