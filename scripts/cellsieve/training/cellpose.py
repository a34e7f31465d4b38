"""What Cellpose learns from labels: the flow to the centre of a nucleus, and nucleus or not."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from cellpose.dynamics import masks_to_flows
from torch import Tensor, nn
from torch.nn import functional

from cellsieve.errors import UserError
from cellsieve.segmenters.cellpose import FLOW, VARIANTS, CellposeNetwork
from cellsieve.training.recipe import Example, Recipe

_SIDE = 224  # px, as Cellpose trains
_PICTURES = 8
_RATE = 1e-3
_RATE_OF_TRAINED = 2e-4  # for weights that have learned from many images already


class Batch(NamedTuple):
    """Pictures and what is to be predicted for them.

    Attributes
    ----------
    pictures : Tensor, (B, 1, s, s), float32
    nucleus : Tensor, (B, s, s), float32
        1 in nuclei, else 0.
    flows : Tensor, (B, 2, s, s), float32
        Unit vectors along rows and columns towards the centre; 0 outside nuclei.
    weight : Tensor, (B, s, s), float32
        0 where nothing is known, else 1.
    """

    pictures: Tensor
    nucleus: Tensor
    flows: Tensor
    weight: Tensor


def recipe(variant: str) -> Recipe:
    """Say how a variant of Cellpose is trained.

    Parameters
    ----------
    variant : str
        A name in `cellsieve.segmenters.cellpose.VARIANTS`; ``nuclei`` and
        ``cyto3`` go on from the checkpoint of that name.

    Raises
    ------
    UserError
        If there is no such variant.
    """
    if variant not in VARIANTS:
        raise UserError(f"Cellpose has no variant {variant!r}; allowed: {', '.join(VARIANTS)}")
    diameter, official = VARIANTS[variant].diameter, VARIANTS[variant].official
    return Recipe(
        engine="cellpose",
        diameter=diameter,
        side=_SIDE,
        pictures=_PICTURES,
        rate=_RATE_OF_TRAINED if official else _RATE,
        figure="flow_error",
        build=partial(build, variant),
        collate=collate,
        loss=loss,
        notes={"variant": variant, "diameter": f"{diameter:g}"},
    )


def build(variant: str, start: Mapping[str, Tensor] | None) -> CellposeNetwork:
    """Return the network in training mode.

    Parameters
    ----------
    variant : str
        A name in `cellsieve.segmenters.cellpose.VARIANTS`.
    start : mapping of str to Tensor, or None
        First weights: of a network of ours or of a checkpoint of Cellpose.
        None draws them.

    Raises
    ------
    UserError
        If the weights are those of another network.
    """
    network = CellposeNetwork(VARIANTS[variant])
    if start is not None:
        try:
            network.take(start)
        except ValueError as error:
            raise UserError(f"first weights: not those of Cellpose {variant}: {error}") from error
    return network.train()


def collate(examples: Sequence[Example]) -> Batch:
    """Put examples into a batch; the flows are Cellpose's own diffusion from the centres."""
    labels = np.stack([example.labels for example in examples])
    ignored = np.stack([example.ignored for example in examples])
    return Batch(
        torch.from_numpy(np.stack([example.picture for example in examples])[:, None]),
        torch.from_numpy((labels > 0).astype(np.float32)),
        torch.from_numpy(np.stack([masks_to_flows(known) for known in labels]).astype(np.float32)),
        torch.from_numpy((~ignored | (labels > 0)).astype(np.float32)),
    )


def loss(network: nn.Module, batch: Batch) -> tuple[Tensor, float]:
    """Compare the network's prediction with a batch.

    Cellpose's own loss, but for pixels about which nothing is known: half the
    squared error of five times the flows, and the cross-entropy of nucleus or
    not.

    Returns
    -------
    loss : Tensor, ()
    error : float
        Mean length of the error of the unit flows in nuclei.
    """
    predicted = network(batch.pictures).float()
    wrong = predicted[:, :2] - FLOW * batch.flows
    pixels = functional.binary_cross_entropy_with_logits(
        predicted[:, 2], batch.nucleus, reduction="none"
    )
    each = wrong.square().mean(1) / 2 + pixels
    length = (wrong.detach().square().sum(1).sqrt() / FLOW * batch.nucleus).sum()
    error = length / batch.nucleus.sum().clamp(min=1)
    return (each * batch.weight).sum() / batch.weight.sum().clamp(min=1), error.item()
