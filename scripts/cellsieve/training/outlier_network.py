"""Training of the network that is exposed to simulated abnormal nuclei."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from cellsieve.anomaly_networks.augmentation import blur, turn, uniform
from cellsieve.anomaly_networks.outlier_network import OutlierNetwork
from cellsieve.simulation.cases import Cases
from cellsieve.training.trainer import Schedule, Trainer

CROPS = 128  # a step
_RATE = 2e-3
_SHIFT = 3.0  # px
_REDRAWN = 0.7  # of the outlines are not the true ones but about as a segmentation draws them:
_ROUNDED = (0.05, 1.8)  # px, sigma by which their corners are rounded,
_LEVEL = (0.3, 0.7)  # and the level at which the rounded shape is cut


class Batch(NamedTuple):
    """What a step learns from.

    Attributes
    ----------
    crops : Tensor, (b, 2, s, s), float32
    abnormal : Tensor, (b,), float32
        1 or 0.
    """

    crops: Tensor
    abnormal: Tensor


def make_trainer(cases: Cases, seed: int, steps: int) -> Trainer:
    """Return the trainer of a new network; ``seed`` is that of weights and batches."""
    torch.manual_seed(seed)

    def draw(step: int) -> Batch:
        generator = torch.Generator().manual_seed(seed * 1_000_003 + step)
        chosen = torch.randint(len(cases.crops), (CROPS,), generator=generator)
        crops = torch.from_numpy(cases.crops[chosen.numpy()]).float()
        abnormal = torch.from_numpy(cases.abnormal[chosen.numpy()]).float()
        return Batch(seen_anew(crops, generator), abnormal)

    return Trainer(OutlierNetwork(), draw, loss, Schedule(steps, _RATE, seed))


def seen_anew(crops: Tensor, generator: Generator) -> Tensor:
    """Turn, mirror and shift crops, and outline most of them anew, (b, 2, s, s)."""
    count = len(crops)
    turned = turn(
        crops,
        uniform(generator, count, 0, 2 * torch.pi),
        torch.ones(count),
        uniform(generator, count, -_SHIFT, _SHIFT),
        torch.sign(uniform(generator, count, -1, 1)),
    )
    light, own = turned[:, :1], turned[:, 1:]
    level = uniform(generator, count, *_LEVEL)[:, None, None, None]
    redrawn = blur(own, uniform(generator, count, *_ROUNDED)) > level
    anew = (torch.rand(count, generator=generator) < _REDRAWN)[:, None, None, None]
    return torch.cat([light, torch.where(anew, redrawn, own > 0.5).float()], 1)


def loss(network: OutlierNetwork, batch: Batch) -> tuple[Tensor, float]:
    """Return the cross-entropy, and the share of nuclei that are named rightly."""
    odds = network(batch.crops).float()
    right = ((odds > 0) == (batch.abnormal > 0)).float().mean()
    return F.binary_cross_entropy_with_logits(odds, batch.abnormal), right.item()
