"""CutPaste: a piece of a nucleus, pasted where it does not belong (Li et al., CVPR 2021)."""

import math

import torch
from torch import Generator, Tensor

from cellsieve.anomaly_networks.augmentation import uniform

_AREA = (0.02, 0.15)  # of a patch, of the picture's
_ASPECT = (0.3, 1 / 0.3)
_SCAR_WIDTH = (2 / 256, 16 / 256)  # of the side
_SCAR_LENGTH = (10 / 256, 25 / 256)
_TILT = math.pi / 4
_GAIN = (0.9, 1.1)


def paste_patch(crops: Tensor, generator: Generator) -> Tensor:
    """Paste a rectangle of each crop elsewhere in it ("normal" CutPaste).

    Parameters
    ----------
    crops : Tensor, (b, 2, s, s), float32
    generator : Generator

    Returns
    -------
    Tensor, (b, 2, s, s), float32
        Areas of 2 to 15 % of the crop, aspect ratios of 0.3 to 3.3, with another gain
        (0.9 to 1.1, in place of the jitter of colours); the outline is the old one.
    """
    count, side = len(crops), crops.shape[-1]
    area = uniform(generator, count, *_AREA) * side**2
    aspect = torch.exp(uniform(generator, count, *map(math.log, _ASPECT)))
    height, width = torch.sqrt(area / aspect), torch.sqrt(area * aspect)
    return _paste(crops, height, width, torch.zeros(count), generator)


def paste_scar(crops: Tensor, generator: Generator) -> Tensor:
    """Paste a thin tilted strip of each crop elsewhere in it (CutPaste "scar")."""
    count, side = len(crops), crops.shape[-1]
    width = uniform(generator, count, *_SCAR_WIDTH) * side
    length = uniform(generator, count, *_SCAR_LENGTH) * side
    tilt = uniform(generator, count, -_TILT, _TILT)
    return _paste(crops, length, width, tilt, generator)


def _paste(
    crops: Tensor, height: Tensor, width: Tensor, tilt: Tensor, generator: Generator
) -> Tensor:
    """Cut patches of the given sizes, (b,) px, out of nuclei; paste them tilted near by."""
    light, own = crops[:, 0], crops[:, 1]
    near = torch.nn.functional.max_pool2d(own[:, None], 9, 1, 4)[:, 0]
    source, target = _place(own, generator), _place(near, generator)
    side = crops.shape[-1]
    places = torch.arange(side, dtype=light.dtype)
    y = places[None, :, None] - target[:, 0, None, None]
    x = places[None, None, :] - target[:, 1, None, None]
    cosine, sine = torch.cos(tilt)[:, None, None], torch.sin(tilt)[:, None, None]
    along, across = cosine * y + sine * x, cosine * x - sine * y
    inside = (along.abs() <= height[:, None, None] / 2) & (across.abs() <= width[:, None, None] / 2)
    # the middle of pixel i lies at (2 i + 1) / side - 1
    from_y, from_x = along + source[:, 0, None, None], across + source[:, 1, None, None]
    grid = torch.stack([(2 * from_x + 1) / side - 1, (2 * from_y + 1) / side - 1], -1)
    cut = torch.nn.functional.grid_sample(crops[:, :1], grid, align_corners=False)[:, 0]
    gain = uniform(generator, len(crops), *_GAIN)[:, None, None]
    return torch.stack([torch.where(inside, gain * cut, light), own], 1)


def _place(mask: Tensor, generator: Generator) -> Tensor:
    """Draw a pixel of each mask, (b, s, s); return rows and columns, (b, 2)."""
    weight = mask.flatten(1) + 1e-6  # an empty mask has a place, too
    at = torch.multinomial(weight, 1, generator=generator)[:, 0]
    return torch.stack([at // mask.shape[-1], at % mask.shape[-1]], 1).to(mask.dtype)
