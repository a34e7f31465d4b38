"""Foreign patch interpolation: part of another nucleus shines through (Tan et al., MELBA 2022)."""

import torch
from torch import Generator, Tensor

from cellsieve.anomaly_networks.augmentation import uniform

_HALF = (0.05, 0.2)  # half the side of a patch, of the crop's side
_CORE = 0.5  # share of the side that the middle of a patch lies in
_SHARE = (0.05, 0.95)  # of the crop's own light that stays
_SAME = 1e-3  # of a typical nucleus: below it two pixels are alike


def interpolate(crops: Tensor, others: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
    """Blend a square of another crop into each.

    Parameters
    ----------
    crops, others : Tensor, (b, 2, s, s), float32
        Pairs of normal nuclei. Their light is brought to the same mean before,
        so that exposure gives nothing away.
    generator : Generator

    Returns
    -------
    crops : Tensor, (b, 2, s, s), float32
    share : Tensor, (b, s, s), float32
        Of the other crop's light: 1 - alpha in the square where the two differ,
        else 0 (eq. 1 and 2).
    """
    count, side = len(crops), crops.shape[-1]
    light, foreign = crops[:, 0], others[:, 0] * _match(crops, others)
    half = uniform(generator, count, *_HALF)[:, None, None] * side
    alpha = uniform(generator, count, *_SHARE)[:, None, None]
    low, high = (1 - _CORE) / 2 * side, (1 + _CORE) / 2 * side
    middle = [uniform(generator, count, low, high)[:, None, None] for _ in range(2)]
    places = torch.arange(side, dtype=light.dtype) + 0.5
    inside = (places[None, :, None] - middle[0]).abs() <= half
    inside = inside & ((places[None, None, :] - middle[1]).abs() <= half)
    blended = torch.where(inside, alpha * light + (1 - alpha) * foreign, light)
    share = (1 - alpha) * (inside & ((light - foreign).abs() > _SAME))
    return torch.stack([blended, crops[:, 1]], 1), share


def _match(crops: Tensor, others: Tensor) -> Tensor:
    """Return the gain that brings each other nucleus to the mean light of its partner."""
    means = [
        (c[:, 0] * c[:, 1]).sum((1, 2)) / c[:, 1].sum((1, 2)).clamp(min=1) for c in (crops, others)
    ]
    return (means[0] / means[1].clamp(min=1e-3))[:, None, None]
