"""Outlier exposure: a small network that has seen simulated abnormal nuclei and no real one."""

from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cellsieve.convolutions import convolution

DIAMETER = 32  # pixels of a typical nucleus in its crops
_WIDTH = 16  # channels at full resolution
_HIDDEN = 128
_CHUNK = 256  # crops that are looked at at once
_DARK = 0.1  # of the nucleus' mean light, below which the logarithm tells nothing apart
_FLAT = 1e-4  # variance of a map below which it counts as even


class OutlierNetwork(nn.Module):
    """Tells abnormal nuclei by outline and chromatin, at three scales.

    How bright a nucleus is, it does not see: light is relative to the nucleus' own
    mean, so that stain and exposure give nothing away.
    """

    def __init__(self) -> None:
        super().__init__()
        widths = (_WIDTH, 2 * _WIDTH, 4 * _WIDTH)
        self.stem = convolution(3, _WIDTH)
        self.scales = nn.ModuleList(
            nn.Sequential(convolution(before, width, stride=2), convolution(width, width))
            for before, width in zip((_WIDTH, *widths), widths, strict=False)
        )
        # mean and spread within the nucleus of each scale, and the mean of the whole crop
        described = 2 * sum(widths) + widths[-1]
        self.head = nn.Sequential(
            nn.Linear(described, _HIDDEN), nn.ReLU(inplace=True), nn.Linear(_HIDDEN, 1)
        )

    def forward(self, crops: Tensor) -> Tensor:
        """Return the log odds that nuclei are abnormal, (b,), of crops, (b, 2, s, s)."""
        own = crops[:, 1:]
        maps = self.stem(_seen(crops))
        described = []
        for scale in self.scales:
            maps = scale(maps)
            described += _within(maps.float(), F.adaptive_avg_pool2d(own, maps.shape[-2:]))
        described.append(maps.float().mean((2, 3)))
        return self.head(torch.cat(described, 1))[:, 0]


def _seen(crops: Tensor) -> Tensor:
    """Return light on a linear and a logarithmic scale and the outline, (b, 3, s, s)."""
    light, own = crops[:, :1], crops[:, 1:]
    mean = (light * own).sum((2, 3), keepdim=True) / own.sum((2, 3), keepdim=True).clamp(min=1)
    light = light / mean.clamp(min=1e-3)
    logarithm = 0.5 * torch.log(light.clamp(min=0) + _DARK)
    return torch.cat([light.clamp(-1, 4) - 0.5, logarithm, own - 0.5], 1)


def _within(maps: Tensor, own: Tensor) -> list[Tensor]:
    """Return mean and logarithm of the spread of maps within the nucleus, (b, c) each."""
    pixels = own.sum((2, 3)).clamp(min=1e-3)
    mean = (maps * own).sum((2, 3)) / pixels
    variance = (maps**2 * own).sum((2, 3)) / pixels - mean**2
    return [mean, 0.5 * torch.log(variance.clamp(min=0) + _FLAT)]


class OutlierScorer(NamedTuple):
    """A trained network that describes crops of nuclei.

    Attributes
    ----------
    module : OutlierNetwork
    diameter : int
        Of a typical nucleus in its crops, px.
    """

    module: nn.Module
    diameter = DIAMETER

    @torch.inference_mode()
    def describe(self, crops: np.ndarray) -> pd.DataFrame:
        """Describe crops, (n, 2, s, s): ``outlier``, the log odds of abnormal, a row a crop."""
        device = next(self.module.parameters()).device
        parts = torch.from_numpy(crops).split(_CHUNK)
        odds = [self.module(part.float().to(device)).cpu() for part in parts]
        return pd.DataFrame({"outlier": torch.cat(odds).numpy()})
