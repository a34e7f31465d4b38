"""CutPaste, FPI and new photographs of crops: what changes and what must not."""

import numpy as np
import pytest
import torch

from cellsieve.anomaly_networks.augmentation import add_noise, blur, photograph, turn
from cellsieve.anomaly_networks.cutpaste import paste_patch, paste_scar
from cellsieve.anomaly_networks.fpi import interpolate


def nuclei(count=6, side=64):
    """Grainy disks of 24 px."""
    rng = np.random.default_rng(0)
    at = np.hypot(*(np.indices((side, side)) - (side - 1) / 2))
    own = np.broadcast_to(at < 12, (count, side, side)).astype(np.float32)
    light = own * (1 + 0.3 * rng.standard_normal(own.shape))
    return torch.from_numpy(np.stack([light, own], 1).astype(np.float32))


def generator(seed=1):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("change", [photograph, add_noise, paste_patch, paste_scar])
def test_the_same_draw_gives_the_same_crops(change):
    crops = nuclei()
    before = crops.clone()
    assert torch.equal(change(crops, generator()), change(crops, generator()))
    assert not torch.equal(change(crops, generator()), change(crops, generator(2)))
    assert torch.equal(crops, before)


def test_a_photograph_keeps_size_and_middle():
    crops = nuclei(200)
    taken = photograph(crops, generator())
    ratio = taken[:, 1].sum((1, 2)) / crops[:, 1].sum((1, 2))
    assert ratio.mean() == pytest.approx(1, abs=0.02)
    assert ratio.std() == pytest.approx(0.06, abs=0.015)  # twice the zoom
    assert (taken[:, 0].sum((1, 2)) / taken[:, 1].sum((1, 2))).log().std() < 0.2


def test_turning_by_a_quarter():
    crops = torch.rand(3, 2, 64, 64, generator=generator())
    still = torch.zeros(3), torch.ones(3), torch.zeros(3), torch.ones(3)
    assert torch.allclose(turn(crops, *still), crops, atol=1e-5)
    quarter = torch.full((3,), torch.pi / 2)
    turned = turn(crops, quarter, *still[1:])
    assert min(
        float((turned - crops.rot90(k, (2, 3))).abs().max()) for k in (1, 3)
    ) == pytest.approx(0, abs=1e-4)


def test_blur_is_a_gaussian_of_each_crops_own_sigma():
    light = torch.zeros(2, 1, 33, 33)
    light[:, :, 16, 16] = 1
    seen = blur(light, torch.tensor([0.7, 1.3]))[:, 0]
    assert seen.sum((1, 2)).tolist() == pytest.approx([1, 1])
    places = torch.arange(33.0) - 16
    variance = (seen.sum(1) * places**2).sum(1)
    assert variance.tolist() == pytest.approx([0.7**2, 1.3**2], rel=0.03)


def test_noise_is_only_where_something_is_shown():
    noisy = add_noise(nuclei(), generator())
    assert torch.equal(noisy[:, 1], nuclei()[:, 1])
    assert not noisy[:, 0][nuclei()[:, 0] == 0].any()


@pytest.mark.parametrize(("paste", "pixels"), [(paste_patch, (82, 614)), (paste_scar, (1, 26))])
def test_a_piece_of_the_nucleus_lies_elsewhere(paste, pixels):
    """2 to 15 % of 64 × 64 pixels; 2 to 16 by 10 to 25 of 256 (and pixels that it touches)."""
    crops = nuclei(300)
    pasted = paste(crops, generator())
    changed = (pasted[:, 0] != crops[:, 0]).sum((1, 2)).float()
    assert torch.equal(pasted[:, 1], crops[:, 1])
    assert (changed > 0).float().mean() > 0.95
    assert changed.max() <= pixels[1] * 1.15 + 4
    assert changed.median() > pixels[0] / 2
    # nothing brighter than the brightest piece with its gain
    assert pasted[:, 0].max() <= 1.1 * crops[:, 0].max()


def test_interpolation_by_hand():
    """Where the two differ, the blend is alpha of one and 1 - alpha of the other."""
    crops = nuclei(40)
    others = crops.flip(0)
    blended, share = interpolate(crops, others, generator())
    match = (crops[:, 0] * crops[:, 1]).sum((1, 2)) / (others[:, 0] * others[:, 1]).sum((1, 2))
    foreign = others[:, 0] * match[:, None, None]
    expected = (1 - share) * crops[:, 0] + share * foreign
    assert torch.allclose(blended[:, 0], expected, atol=2e-3)
    inside = share.flatten(1).max(1).values
    inside = inside[inside > 0]  # a patch beside both nuclei shows nothing foreign
    assert inside.min() > 0.04
    assert inside.max() < 0.96
    for square in share[share.flatten(1).any(1)]:
        rows, cols = torch.nonzero(square, as_tuple=True)
        assert rows.max() - rows.min() < 0.4 * 64 + 1
        assert cols.max() - cols.min() < 0.4 * 64 + 1


def test_a_crop_blended_with_itself_has_nothing_foreign():
    crops = nuclei()
    blended, share = interpolate(crops, crops, generator())
    assert torch.allclose(blended, crops, atol=1e-6)
    assert not share.any()
