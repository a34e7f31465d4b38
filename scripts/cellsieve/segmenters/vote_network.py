"""A small U-Net in which every pixel says whether it is nucleus, and where its centre is."""

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from cellsieve.convolutions import Residual, contrast, convolution

STRIDE = 16  # sides of pictures are multiples of it
_WIDTHS = (32, 48, 64, 96)  # channels at stride 2, 4, 8 and 16
_OUTPUTS = 3
_BRIGHT = 3.0  # typical nuclei, beyond which the linear scale is cut off
_UNIT = 0.5  # of a typical nucleus on that scale: most of what is seen is below 1, as in the other
_REACH = 16.0  # px, half a typical diameter: the unit in which the network counts offsets


class VoteNetwork(nn.Module):
    """Predicts, for each pixel, a nucleus and the way to its centre.

    The finest convolutions work at half the resolution, on blocks of 2×2
    pixels: on a CPU, full resolution would cost more than all the rest.

    References
    ----------
    Cheng et al., "Panoptic-DeepLab", CVPR 2020 (offsets to centres); Shi et al.,
    CVPR 2016 (sub-pixel convolution); Ronneberger et al., MICCAI 2015 (U-Net).
    """

    def __init__(self):
        super().__init__()
        first = _WIDTHS[0]
        self.stem = nn.Sequential(convolution(8, first), Residual(first))
        self.down = nn.ModuleList(
            nn.Sequential(convolution(a, b, 2), Residual(b), Residual(b))
            for a, b in pairwise(_WIDTHS)
        )
        self.lateral = nn.ModuleList(nn.Conv2d(b, a, 1) for a, b in pairwise(_WIDTHS))
        self.up = nn.ModuleList(Residual(a) for a in _WIDTHS[:-1])
        self.head = nn.Conv2d(first, 4 * _OUTPUTS, 3, padding=1)

    def forward(self, pictures: Tensor) -> Tensor:
        """Predict.

        Parameters
        ----------
        pictures : Tensor, (B, 1, h, w)
            Sides are multiples of 16; a typical nucleus is about 1 and 32 px across.

        Returns
        -------
        Tensor, (B, 3, h, w)
            Logit of nucleus; rows and columns from the pixel to its centre, px.
        """
        # where two nuclei touch, a fifth less light is plain to see on a linear scale only
        seen = torch.cat([contrast(pictures), _UNIT * pictures.clamp(0, _BRIGHT)], 1)
        levels = [self.stem(functional.pixel_unshuffle(seen, 2))]
        for stage in self.down:
            levels.append(stage(levels[-1]))
        found = levels.pop()
        for lateral, up in zip(self.lateral[::-1], self.up[::-1], strict=True):
            coarse = functional.interpolate(lateral(found), scale_factor=2.0)
            found = up(levels.pop() + coarse)
        predicted = functional.pixel_shuffle(self.head(found), 2)
        return torch.cat([predicted[:, :1], _REACH * predicted[:, 1:]], 1)
