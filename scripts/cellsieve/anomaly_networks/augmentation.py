"""The same nucleus photographed again: what is changed does not make it abnormal."""

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

_GAIN = 0.15  # standard deviations of logarithms
_ZOOM = 0.03
_SHIFT = 4.0  # px
_BLUR = 0.7  # px, at most
_NOISE = (0.004, 0.04)  # of a typical nucleus


def uniform(generator: Generator, count: int, low: float, high: float) -> Tensor:
    """Draw numbers, (count,)."""
    return low + (high - low) * torch.rand(count, generator=generator)


def photograph(crops: Tensor, generator: Generator) -> Tensor:
    """Turn, mirror, shift and expose each crop anew.

    Parameters
    ----------
    crops : Tensor, (b, 2, s, s), float32
        As `cellsieve.crops.cut_crops` gives them. Size is no accident: they
        are hardly zoomed.
    generator : Generator

    Returns
    -------
    Tensor, (b, 2, s, s), float32
    """
    count = len(crops)
    turned = turn(
        crops,
        uniform(generator, count, 0, 2 * torch.pi),
        torch.exp(_ZOOM * torch.randn(count, generator=generator)),
        uniform(generator, count, -_SHIFT, _SHIFT),
        torch.sign(uniform(generator, count, -1, 1)),
    )
    gain = torch.exp(_GAIN * torch.randn(count, generator=generator))
    light = turned[:, :1] * gain[:, None, None, None]
    light = blur(light, uniform(generator, count, 0.01, _BLUR))
    return torch.cat([light, turned[:, 1:]], 1)


def add_noise(crops: Tensor, generator: Generator) -> Tensor:
    """Add shot and read noise of a random camera to the light of crops, (b, 2, s, s)."""
    level = uniform(generator, len(crops), *torch.tensor(_NOISE).log().tolist()).exp()
    light = crops[:, :1]
    noise = torch.randn(light.shape, generator=generator) * level[:, None, None, None]
    # where nothing is shown there is no noise either
    return torch.cat(
        [light + noise * (light > 0) * (0.3 + light.clamp(min=0)).sqrt(), crops[:, 1:]], 1
    )


def turn(crops: Tensor, angle: Tensor, zoom: Tensor, shift: Tensor, mirror: Tensor) -> Tensor:
    """Turn (radians), enlarge, shift (px) and mirror (-1) crops, (b, c, s, s), each its own way."""
    cosine, sine = torch.cos(angle) / zoom, torch.sin(angle) / zoom
    offset = 2 * shift / crops.shape[-1]
    rows = torch.stack(
        [
            torch.stack([cosine * mirror, -sine, offset], 1),
            torch.stack([sine * mirror, cosine, -offset], 1),
        ],
        1,
    )
    grid = F.affine_grid(rows, list(crops.shape), align_corners=False)
    return F.grid_sample(crops, grid, align_corners=False)


def blur(light: Tensor, sigma: Tensor) -> Tensor:
    """Blur pictures, (b, 1, s, s), each by a Gaussian of its own sigma, (b,) px up to about 2."""
    places = torch.arange(-4, 5, dtype=light.dtype)
    kernel = torch.exp(-0.5 * (places / sigma.clamp(min=0.05)[:, None]) ** 2)
    kernel = kernel / kernel.sum(1, keepdim=True)
    rows = F.pad(light.transpose(0, 1), (0, 0, 4, 4), mode="replicate")
    rows = F.conv2d(rows, kernel[:, None, :, None], groups=len(light))
    both = F.conv2d(
        F.pad(rows, (4, 4, 0, 0), mode="replicate"), kernel[:, None, None], groups=len(light)
    )
    return both.transpose(0, 1)
