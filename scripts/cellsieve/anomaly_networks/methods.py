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
from cellsieve.anomaly_networks.fpi import interpolate
from cellsieve.anomaly_networks.networks import (
    Backbone,
    Classifier,
    Embedding,
    Interpolator,
)

FROZEN = "frozen"
PROJECTED = 512  # dimensions, of TMSCL
_CHUNK = 128  # crops that are embedded at once
_TOP = 0.25  # of a nucleus' pixels, most foreign first, make its score


class Batch(NamedTuple):
    """What a step learns from.

    Attributes
    ----------
    crops : Tensor, (n, 2, s, s)
    target : Tensor
        Which view, or which class, each is, (n,) int64; or a map, (n, s, s).
    """

    crops: Tensor
    target: Tensor


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


@torch.inference_mode()
def in_parts(
    describe: Callable[[nn.Module, Tensor], Tensor], network: nn.Module, crops: Tensor
) -> Tensor:
    """Describe crops, a few at a time.

    Parameters
    ----------
    describe : callable
        ``embed`` or ``pretext`` of a method.
    network : Module
        In evaluation mode.
    crops : Tensor, (n, 2, s, s), float32

    Returns
    -------
    Tensor, (n, d) or (n,), float32
        On the CPU.
    """
    device = next(network.parameters()).device
    return torch.cat([describe(network, part.to(device)).cpu() for part in crops.split(_CHUNK)])


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
    right = (logits.argmax(1) == batch.target).float().mean()
    return F.cross_entropy(logits, batch.target), right.item()


def _project(network: nn.Module, crops: Tensor) -> Tensor:
    return network(crops).float()


def _no_loss(network: nn.Module, batch: Batch) -> tuple[Tensor, float]:
    raise ValueError("a frozen network is not fitted")


def _describe(network: nn.Module, crops: Tensor) -> Tensor:
    return F.normalize(network.backbone(crops).float(), dim=-1)


def _unlikely(network: nn.Module, crops: Tensor) -> Tensor:
    """Return how unlikely it is that nothing was pasted, in nats."""
    return -F.log_softmax(network(crops).float(), 1)[:, 0]


def _foreign(crops: Tensor, generator: Generator) -> Batch:
    seen = photograph(crops, generator)
    blended, share = interpolate(seen, seen.roll(1, 0), generator)
    return Batch(add_noise(blended, generator), share)


def _tell_share(network: nn.Module, batch: Batch) -> tuple[Tensor, float]:
    logits = network(batch.crops).float()
    wrong = (logits.sigmoid() - batch.target).abs().mean()
    return F.binary_cross_entropy_with_logits(logits, batch.target), wrong.item()


def _most_foreign(network: nn.Module, crops: Tensor) -> Tensor:
    """Return the mean of the most foreign quarter of each nucleus' pixels."""
    share = network(crops).float().sigmoid()
    own = crops[:, 1] > 0.5
    values = torch.where(own, share, -torch.inf).flatten(1).sort(1, descending=True).values
    taken = (own.flatten(1).sum(1) * _TOP).ceil().clamp(min=1)
    kept = torch.arange(values.shape[1], device=values.device) < taken[:, None]
    return torch.where(kept & values.isfinite(), values, 0).sum(1) / taken


def _cutpaste(*pastes: Callable[[Tensor, Generator], Tensor]) -> Method:
    classes = 1 + len(pastes)
    return Method(
        lambda backbone: Classifier(backbone, classes),
        _pasted(*pastes),
        _classify,
        _describe,
        _unlikely,
    )


def _contrasted(contrast: Callable[[Tensor], Tensor]) -> Method:
    """Return TMSCL with a loss: two views photographed anew, the third as it is."""
    return Method(
        lambda backbone: Embedding(backbone, PROJECTED, unit_centre=True),
        _views(3, clean=True),
        _contrastive(3, contrast, compact=True),
        _project,
    )


METHODS = {
    # nothing is fitted: the backbone as it begins
    FROZEN: Method(Embedding, _views(1, clean=True), _no_loss, _describe),
    "tmscl": _contrasted(mean_shifted_loss),
    "tmscl_exclude": _contrasted(exclusive_loss),
    "msc": Method(
        Embedding,
        _views(2, clean=False),
        _contrastive(2, mean_shifted_loss, compact=False),
        _project,
    ),
    "cutpaste_normal": _cutpaste(paste_patch),
    "cutpaste_scar": _cutpaste(paste_scar),
    "cutpaste_3way": _cutpaste(paste_patch, paste_scar),
    "fpi": Method(Interpolator, _foreign, _tell_share, _describe, _most_foreign),
}
