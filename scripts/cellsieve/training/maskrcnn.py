"""What Mask R-CNN learns from labels, and what it must not learn from."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torchvision.ops import masks_to_boxes

from cellsieve.segmenters.maskrcnn import DIAMETER
from cellsieve.segmenters.maskrcnn_network import MaskRcnn
from cellsieve.training.recipe import Example, Recipe

_SIDE = 192  # px: half of its nuclei are whole
_PICTURES = 4
_RATE = 1e-3


class Batch(NamedTuple):
    """Pictures and what is known about them.

    Attributes
    ----------
    pictures : Tensor, (B, 1, s, s), float32
    labels : Tensor, (B, s, s), int32
        0 = background, or not known.
    ignored : Tensor, (B, s, s), bool
        Where nothing is known.
    """

    pictures: Tensor
    labels: Tensor
    ignored: Tensor


def recipe(backbone: str) -> Recipe:
    """Return how Mask R-CNN is trained.

    Parameters
    ----------
    backbone : str
        A name in `cellsieve.segmenters.maskrcnn_network.BACKBONES`.
    """

    def build(start: Mapping[str, Tensor] | None) -> nn.Module:
        network = MaskRcnn(backbone)
        if start is not None:
            network.load_state_dict(start)
        return network.train()

    notes = {"backbone": backbone}
    return Recipe(
        "maskrcnn", DIAMETER, _SIDE, _PICTURES, _RATE, "mask_loss", build, collate, loss, notes
    )


def collate(examples: Sequence[Example]) -> Batch:
    """Put examples into a batch; shapes are the same however many nuclei there are."""
    pictures, labels, ignored = (
        torch.from_numpy(np.stack(part)) for part in zip(*examples, strict=True)
    )
    return Batch(pictures[:, None], labels, ignored)


def loss(network: nn.Module, batch: Batch) -> tuple[Tensor, float]:
    """Return the sum of the losses of Mask R-CNN, and that of the masks."""
    targets = [describe(*known) for known in zip(batch.labels, batch.ignored, strict=True)]
    losses = network(batch.pictures, targets)
    return sum(losses.values()), losses["loss_mask"].item()


def describe(labels: Tensor, ignored: Tensor) -> dict[str, Tensor]:
    """Turn the labels of a picture into what the network takes.

    Parameters
    ----------
    labels : Tensor, (s, s), int32
        0 = background, or not known.
    ignored : Tensor, (s, s), bool
        What is labelled is known all the same.

    Returns
    -------
    dict of str to Tensor
        ``boxes``, ``labels``, ``masks`` and ``ignored``, see `MaskRcnn.forward`.
    """
    numbers = labels.unique()
    masks = labels == numbers[numbers > 0][:, None, None]
    # the far edge of the last pixel
    boxes = masks_to_boxes(masks) + torch.tensor([0, 0, 1, 1], device=masks.device)
    return {
        "boxes": boxes,
        "labels": torch.ones(len(masks), dtype=torch.int64, device=masks.device),
        "masks": masks,
        "ignored": ignored & (labels == 0),
    }
