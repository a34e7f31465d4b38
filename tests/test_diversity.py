"""What is accepted stays as varied as what was found."""

import numpy as np
import pandas as pd
import pytest
from scipy import ndimage
from test_mask_table import table

from cellsieve.pseudo_labelling.diversity import BINS, assign_bins, choose, shares
from cellsieve.pseudo_labelling.nucleus_checks import DOUBTFUL
from cellsieve.pseudo_labelling.pseudo_labels import judge

DIAMETER = 20.0


def candidates(count, seed=0):
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "y_px": rng.uniform(0, 400, count),
            "x_px": rng.uniform(0, 400, count),
            "relative_area": rng.lognormal(0, 0.6, count),
            "brightness": rng.lognormal(5, 0.6, count),
        }
    )


def test_bins_worked_out_by_hand():
    known = pd.DataFrame(
        {
            "y_px": [0.0, 0, 0, 0, 0, 30, 200, 0],
            "x_px": [0.0, 10, 20, 30, 40, 20, 200, 25],
            "relative_area": [0.5, 0.7, 1.4, 1.6, 1.0, 1.0, 1.0, np.nan],
            "brightness": [50.0, 70, 140, 160, 100, 100, 100, np.nan],
        }
    )
    bins = assign_bins(known, DIAMETER)
    expected = ["small", "middling", "middling", "large", "middling", "middling", "middling"]
    assert bins.size_bin.tolist()[:7] == expected
    renamed = [{"small": "dim", "large": "bright"}.get(name, name) for name in expected]
    assert bins.brightness_bin.tolist()[:7] == renamed
    assert bins.density_bin[0] == "crowded"  # all in its row, 25 among them, within 40 px
    assert bins.density_bin[6] == "alone"
    assert bins.loc[7].isna().all()  # not measured, yet a neighbour of the others


@pytest.mark.parametrize("seed", range(4))
def test_every_bin_has_its_share_and_nothing_implausible(seed):
    made = candidates(300, seed)
    bins = assign_bins(made, DIAMETER)
    # the small, the dim and the crowded are hardly ever beyond doubt
    easy = ~bins.isin(["small", "dim", "crowded"]).any(axis=1).to_numpy(bool)
    quality = np.random.default_rng(seed).uniform(-1, 1.0, 300) + 0.6 * easy
    accepted = choose(quality, bins)
    assert accepted[quality >= 1].all()
    assert not accepted[quality < DOUBTFUL].any()
    for column, names in BINS.items():
        for name in names:
            plausible = (bins[column] == name).to_numpy(bool) & (quality >= DOUBTFUL)
            assert accepted[plausible].sum() >= int(plausible.sum() / 3)


def test_the_best_doubtful_ones_are_taken_and_no_more_than_needed():
    made = pd.DataFrame(
        {"y_px": np.arange(12) * 100.0, "x_px": 0.0, "relative_area": 1.0, "brightness": 9.0}
    )
    made.loc[6:, "relative_area"] = 2.0
    quality = np.array([1.2] * 6 + [0.6, 0.9, 0.7, 0.8, 0.6, 0.5])
    chosen = choose(quality, assign_bins(made, DIAMETER))
    assert np.flatnonzero(chosen).tolist() == [0, 1, 2, 3, 4, 5, 7, 9]
    assert shares(chosen, assign_bins(made, DIAMETER)).startswith(
        "size: small 0/0, middling 6/6, large 2/6"
    )


def test_nothing_to_choose_from():
    none = candidates(0)
    assert not choose(np.zeros(0), assign_bins(none, DIAMETER)).any()


def varied_field():
    """Half of the nuclei large, half dim, half in touching fours; each is known."""
    shape = (560, 560)
    image, masks, kinds = np.zeros(shape), [], []
    y, x = np.mgrid[: shape[0], : shape[1]]
    places = [(r, c) for r in range(45, 540, 94) for c in range(45, 540, 94)]
    for number, (row, col) in enumerate(places):
        large, dim, crowded = number % 2, number // 2 % 2, number // 4 % 2
        radius = 13 if large else 8.5
        step = radius + 0.3
        shifts = [(-step, -step), (-step, step), (step, -step), (step, step)]
        for dy, dx in shifts if crowded else [(0, 0)]:
            mask = (y - row - dy) ** 2 + (x - col - dx) ** 2 <= radius**2
            image[mask] = 160 if dim else 1000
            masks.append(mask)
            kinds.append((bool(large), bool(dim), bool(crowded)))
    image = ndimage.gaussian_filter(image, 1.0)
    noisy = image + np.random.default_rng(1).normal(0, 8, shape)
    return np.maximum(noisy, 0).astype(np.float32), masks, pd.DataFrame(kinds)


def test_dim_large_and_crowded_nuclei_are_labelled_as_the_easy_ones_are():
    image, masks, kinds = varied_field()
    prompts = table(masks)
    centres = [np.argwhere(mask).mean(0) for mask in masks]
    prompts[["y_px", "x_px"]] = np.array(centres)
    verdicts = judge(image, prompts.assign(kept=True, reason=""), None, "coarse", DIAMETER)
    accepted = verdicts.accepted.to_numpy(bool)
    for column in kinds:
        for value in (True, False):
            assert accepted[kinds[column] == value].mean() > 0.9
    assert set(verdicts.brightness_bin[kinds[1].to_numpy()]) == {"dim"}
