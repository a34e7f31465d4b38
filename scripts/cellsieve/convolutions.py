"""The building blocks of our own convolutional networks."""

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

_FAINT = 0.02  # intensity, in typical nuclei, below which contrast no longer counts


def contrast(pictures: Tensor) -> Tensor:
    """Show faint nuclei beside bright ones: log(1 + I / 0.02), 1 for a typical nucleus.

    Parameters
    ----------
    pictures : Tensor
        A typical nucleus is about 1; what is negative is background.

    Returns
    -------
    Tensor
        Of the same shape.
    """
    return torch.log1p(pictures.clamp(min=0) / _FAINT) / torch.log1p(torch.tensor(1 / _FAINT))


class Residual(nn.Module):
    """Two convolutions beside a shortcut."""

    def __init__(self, width: int):
        super().__init__()
        self.first = convolution(width, width)
        self.second = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return a tensor of the same shape."""
        return functional.relu(x + self.second(self.first(x)))


def convolution(a: int, b: int, stride: int = 1) -> nn.Sequential:
    """Return a 3×3 convolution from ``a`` to ``b`` channels, normalised and rectified."""
    return nn.Sequential(
        nn.Conv2d(a, b, 3, stride, 1, bias=False), nn.BatchNorm2d(b), nn.ReLU(inplace=True)
    )


def fold_batch_norms(network: nn.Module) -> None:
    """Let convolutions do their batch normalisation too: fewer passes over memory.

    Parameters
    ----------
    network : Module
        In evaluation mode; changed in place.
    """
    for module in network.modules():
        if isinstance(module, nn.Sequential):
            for i, (a, b) in enumerate(pairwise(module)):
                if isinstance(a, nn.Conv2d) and isinstance(b, nn.BatchNorm2d):
                    module[i] = fuse_conv_bn_eval(a, b)
                    module[i + 1] = nn.Identity()
