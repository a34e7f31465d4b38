"""The anomaly methods that train a network, by name, behind one interface."""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from cellsieve.anomaly_networks.augmentation import add_noise, photograph
from cellsieve.anomaly_networks.contrastive import (
    compactness,
    directions,
    exclusive_loss,
    mean_shifted_loss,
)
from cellsieve.anomaly_networks.cutpaste import paste_patch, paste_scar
from cellsieve.anomaly_networks.networks import Backbone, Classifier, Embedding

PROJECTED = 512  # dimensions, of TMSCL


class Batch(NamedTuple):
    """What a step learns from.

    Attributes
    ----------
    crops : Tensor, (n, 2, s, s)
    kinds : Tensor, (n,), int64
        Which view, or which class, each is.
    """

    crops: Tensor
    kinds: Tensor


class Method(NamedTuple):
    """How a network learns what is normal.

    Attributes
    ----------
    build : callable
        ``build(backbone)`` returns the network.
    draw : callable
        ``draw(crops, generator)`` makes a batch of normal crops, (b, 2, s, s).
    loss : callable
        ``loss(network, batch)`` returns the loss, a Tensor (), and a figure to
        follow, a float.
    embed : callable
        ``embed(network, crops)`` returns the unit vectors, (b, d), in which
        neighbours are searched.
    pretext : callable or None
        ``pretext(network, crops)`` returns the method's own score, (b,).
    """

    build: Callable[[Backbone], nn.Module]
    draw: Callable[[Tensor, Generator], Batch]
    loss: Callable[[nn.Module, Batch], tuple[Tensor, float]]
    embed: Callable[[nn.Module, Tensor], Tensor]
    pretext: Callable[[nn.Module, Tensor], Tensor] | None = None


def _views(count: int, clean: bool) -> Callable[[Tensor, Generator], Batch]:
    """Return a function that draws several views of each crop, the last one as it is if clean."""

    def draw(crops: Tensor, generator: Generator) -> Batch:
        seen = [add_noise(photograph(crops, generator), generator) for _ in range(count - clean)]
        seen += [crops] if clean else []
        return Batch(torch.cat(seen), torch.arange(count).repeat_interleave(len(crops)))

    return draw


def _contrastive(views: int, contrast: Callable[[Tensor], Tensor], compact: bool) -> Any:
    def loss(network: nn.Module, batch: Batch) -> tuple[Tensor, float]:
        z = network(batch.crops).float().unflatten(0, (views, -1))
        value = contrast(directions(z, network.centre))
        spread = compactness(z, network.centre)
        return value + spread if compact else value, spread.item() / views

    return loss


def _pasted(*pastes: Callable[[Tensor, Generator], Tensor]) -> Callable[[Tensor, Generator], Batch]:
    def draw(crops: Tensor, generator: Generator) -> Batch:
        seen = photograph(crops, generator)
        kinds = [seen, *(paste(seen, generator) for paste in pastes)]
        crops = add_noise(torch.cat(kinds), generator)
        return Batch(crops, torch.arange(len(kinds)).repeat_interleave(len(seen)))

    return draw


def _classify(network: nn.Module, batch: Batch) -> tuple[Tensor, float]:
    logits = network(batch.crops).float()
    right = (logits.argmax(1) == batch.kinds).float().mean()
    return F.cross_entropy(logits, batch.kinds), right.item()


def _project(network: nn.Module, crops: Tensor) -> Tensor:
    return network(crops).float()


def _describe(network: nn.Module, crops: Tensor) -> Tensor:
    return F.normalize(network.backbone(crops).float(), dim=-1)


def _unlikely(network: nn.Module, crops: Tensor) -> Tensor:
    """Return how unlikely it is that nothing was pasted, in nats."""
    return -F.log_softmax(network(crops).float(), 1)[:, 0]


def _cutpaste(*pastes: Callable[[Tensor, Generator], Tensor]) -> Method:
    classes = 1 + len(pastes)
    return Method(
        lambda backbone: Classifier(backbone, classes), _pasted(*pastes), _classify, _describe, _unlikely
    )


METHODS = {
    "tmscl": Method(
        lambda backbone: Embedding(backbone, PROJECTED),
        _views(3, clean=True),
        _contrastive(3, mean_shifted_loss, compact=True),
        _project,
    ),
    "tmscl_exclude": Method(
        lambda backbone: Embedding(backbone, PROJECTED),
        _views(3, clean=True),
        _contrastive(3, exclusive_loss, compact=True),
        _project,
    ),
    "msc": Method(
        Embedding, _views(2, clean=False), _contrastive(2, mean_shifted_loss, compact=False), _project
    ),
    "cutpaste_normal": _cutpaste(paste_patch),
    "cutpaste_scar": _cutpaste(paste_scar),
    "cutpaste_3way": _cutpaste(paste_patch, paste_scar),
}
