import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
from scipy import ndimage
from scipy.spatial import KDTree
from scipy.special import ndtr
from skimage.feature import peak_local_max
from skimage.filters import gaussian, threshold_otsu
from skimage.measure import label, regionprops_table
from skimage.segmentation import watershed

from cellsieve.benchmarks.metrics import Matches, iou_matrix, match
from cellsieve.simulation.camera import expose
from cellsieve.simulation.layout import place
from cellsieve.simulation.nucleus import draw_nucleus, reach
from cellsieve.simulation.optics import (
    SKIRT,
    SKIRT_WIDTH,
    CoarseMap,
    add_spot,
    bleed_through,
    blur,
    illumination,
    scattered,
)
from cellsieve.simulation.render import render, strips
from cellsieve.simulation.scene import Field, compose
from cellsieve.simulation.signals import draw_signals
from cellsieve.simulation.slide import CHANNELS, draw_slide
from cellsieve.simulation.truth import Tally

SCRIPT = Path(__file__).parents[1] / "scripts" / "simulate.py"
PROBES = ["aqua", "green", "gold", "red"]


def simulate(folder: Path, *options: object) -> subprocess.CompletedProcess:
    files = {"image": "a.ome.tif", "labels": "a.labels.tif", "truth": "a.cells.tsv"}
    paths = [part for flag, name in files.items() for part in (f"--{flag}", folder / name)]
    return subprocess.run(
        [str(part) for part in (sys.executable, SCRIPT, *paths, *options)],
        capture_output=True,
        text=True,
        check=False,
    )


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


SMALL = ("--height", 200, "--width", 300, "--nuclei", 12)


def test_same_seed_gives_same_bytes_and_nothing_else_is_left(tmp_path):
    for name in ("one", "two"):
        assert simulate(tmp_path / name, *SMALL, "--seed", 4).returncode == 0
    assert simulate(tmp_path / "other", *SMALL, "--seed", 5).returncode == 0
    one = contents(tmp_path / "one")
    other = contents(tmp_path / "other")
    assert set(one) == {"a.ome.tif", "a.labels.tif", "a.cells.tsv"}
    assert contents(tmp_path / "two") == one
    assert all(other[name] != one[name] for name in one)


def test_files_say_what_they_hold(tmp_path):
    assert simulate(tmp_path, *SMALL, "--pixel-size", 0.5).returncode == 0
    with tifffile.TiffFile(tmp_path / "a.ome.tif") as tif:
        assert tif.series[0].axes == "CYX"
        assert tif.series[0].shape == (5, 200, 300)
        assert tif.series[0].dtype == np.uint16
        assert tif.pages[0].is_tiled
        pixels = tifffile.xml2dict(tif.ome_metadata)["OME"]["Image"]["Pixels"]
    assert [channel["Name"] for channel in pixels["Channel"]] == list(CHANNELS)
    assert (pixels["PhysicalSizeX"], pixels["PhysicalSizeYUnit"]) == (0.5, "µm")
    labels = tifffile.imread(tmp_path / "a.labels.tif")
    cells = pd.read_csv(tmp_path / "a.cells.tsv", sep="\t")
    assert labels.shape == (200, 300)
    assert list(np.unique(labels)) == [0, *cells["label"]]


def test_no_nuclei_is_a_field_without_nuclei(tmp_path):
    assert simulate(tmp_path, "--height", 90, "--width", 70, "--nuclei", 0).returncode == 0
    assert not tifffile.imread(tmp_path / "a.labels.tif").any()
    assert tifffile.imread(tmp_path / "a.ome.tif").std() > 0
    assert pd.read_csv(tmp_path / "a.cells.tsv", sep="\t").empty


@pytest.mark.parametrize(
    "options",
    [
        ("--abnormal", 1.1),
        ("--abnormal", "nan"),
        ("--nuclei", -1),
        ("--nuclei", 100000),
        ("--height", 0),
        ("--seed", -3),
        ("--pixel-size", 0),
        ("--diameter", "inf"),
        ("--diameter", 0.5),
    ],
)
def test_impossible_options_are_refused_in_one_line(tmp_path, options):
    done = simulate(tmp_path, *options)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert options[0] in done.stderr
    assert not list(tmp_path.iterdir())


@pytest.fixture(scope="module")
def field():
    wanted = Field(600, 700, nuclei=70, abnormal=0.4, seed=3)
    return wanted, *render(wanted, draw_slide(2))


def test_each_label_has_its_row(field):
    _, _, labels, cells = field
    assert list(np.unique(labels)) == [0, *cells["label"]]
    assert list(cells["label"]) == list(range(1, len(cells) + 1))
    middles = ndimage.center_of_mass(labels > 0, labels, cells["label"])
    np.testing.assert_allclose(cells[["y_px", "x_px"]], middles, atol=0.006)
    y, x = cells[["y_px", "x_px"]].round().astype(int).to_numpy().T
    assert (labels[y, x] == cells["label"]).mean() > 0.95


def test_border_is_told(field):
    _, _, labels, cells = field
    inner = np.zeros(labels.shape, bool)
    inner[1:-1, 1:-1] = True
    at_border = np.isin(cells["label"], labels[~inner])
    np.testing.assert_array_equal(cells["touches_border"] == 1, at_border)


def test_normal_nuclei_have_two_signals_and_abnormal_ones_differ_in_several_probes(field):
    cells = field[3]
    changed = (cells[PROBES] != 2).sum(axis=1)
    sick = cells["class"] == "abnormal"
    assert (changed[~sick] == 0).all()
    assert sick.any()
    # a changed probe has never two signals, so at least two of four differ
    assert (changed[sick] >= 2).all()


def test_nuclei_shine_and_signals_stand_out(field):
    _, image, labels, cells = field
    assert np.median(image[0][labels > 0]) > 3 * np.median(image[0][labels == 0])
    # the brightest pixel of a probe in a sharp nucleus with signals is far above its median
    for row in cells[(cells["red"] > 0) & (cells["touches_border"] == 0)].itertuples():
        inside = image[4][ndimage.binary_dilation(labels == row.label)]
        noise = 1.4826 * np.median(np.abs(inside - np.median(inside)))
        assert inside.max() > np.median(inside) + 3 * noise


def test_strips_do_not_show():
    wanted, slide = Field(1100, 530, nuclei=60, seed=1), draw_slide(1)
    whole, _, _ = render(wanted, slide)
    scene = compose(wanted, slide)
    tally = Tally(len(scene.cells), wanted.shape)
    one = next(strips(wanted, slide, scene, tally, tile_rows=3))
    assert one.image.shape == whole.shape
    np.testing.assert_array_equal(one.image, whole)
    # labels and truth follow from the same masks
    _, labels, cells = render(wanted, slide)
    np.testing.assert_array_equal(tally.lookup()[one.labels], labels)
    pd.testing.assert_frame_equal(tally.table(scene.cells), cells)


def test_fields_of_a_slide_share_its_camera_and_slides_differ():
    assert draw_slide(3) == draw_slide(3)
    assert draw_slide(3).stain != draw_slide(4).stain
    quiet = replace(draw_slide(3), read_noise=0.0, background=(400.0,) * 5, vignetting=0.0)
    noisy = replace(quiet, read_noise=40.0)
    dark = Field(200, 200, nuclei=0)
    (calm, _, _), (rough, _, _) = render(dark, quiet), render(dark, noisy)
    assert np.std(rough[4].astype(float)) > 1.5 * np.std(calm[4].astype(float))


def test_nucleus_larger_than_a_tile():
    _, labels, cells = render(Field(900, 900, nuclei=1, diameter_um=230), draw_slide(0))
    assert len(cells) == 1
    assert (labels > 0).sum() > 512 * 300


def test_spot_is_integrated_over_pixels():
    plane = np.zeros((21, 21))
    add_spot(plane, 10, 10, 1.0, 1000.0)
    middle = ndtr(0.5) - ndtr(-0.5)  # 0.3829 of a normal distribution
    assert plane[10, 10] == pytest.approx(1000 * middle**2)
    assert plane[10, 10] == pytest.approx(146.6, abs=0.1)
    assert plane.sum() == pytest.approx(1000, rel=1e-3)
    shifted = np.zeros((30, 30))
    add_spot(shifted, 12.3, 14.8, 1.5, 500.0)
    assert ndimage.center_of_mass(shifted) == pytest.approx((12.3, 14.8), abs=0.01)


def test_spot_outside_leaves_a_plane_alone():
    plane = np.zeros((5, 5))
    add_spot(plane, -40, 2, 1.0, 9.0)
    add_spot(plane, 2, 60, 1.0, 9.0)
    assert not plane.any()


def test_blur_keeps_light_and_has_its_width():
    point = np.zeros((61, 61), np.float32)
    point[30, 30] = 1
    seen = blur(point, 2.0)
    assert seen.sum() == pytest.approx(1, abs=1e-4)
    offset = (np.arange(61) - 30) ** 2
    variance = (seen.sum(0) * offset).sum()
    # the tails are cut, so a little less than the variance of the mixture
    mixture = 4 * (1 - SKIRT) + SKIRT * (2 * SKIRT_WIDTH) ** 2
    assert 0.88 * mixture < variance < mixture


def test_bleed_through_reaches_the_next_channel_only():
    light = np.zeros((3, 1, 1), np.float32)
    light[0] = 100
    bleed_through(light, (0.1, 0.5))
    np.testing.assert_allclose(light[:, 0, 0], [100, 10, 0], rtol=1e-6)


def test_camera_follows_the_photon_statistics():
    light = np.full((400, 400), 900, np.float32)
    counts = expose(np.random.default_rng(0), light, 100, 0, 2).astype(float)
    assert counts.mean() == pytest.approx(100 + 2 * 900, abs=1)
    assert counts.std() == pytest.approx(2 * 30, rel=0.02)
    assert expose(np.random.default_rng(0), light * 1e4, 100, 0, 2).min() == 65535


def test_coarse_map_interpolates_linearly():
    ramp = CoarseMap(np.add.outer(10.0 * np.arange(4), 5.0 * np.arange(4)).astype(np.float32), 5)
    part = ramp.at(slice(3, 9), slice(0, 7))
    expected = np.add.outer(2.0 * np.arange(3, 9), 1.0 * np.arange(7))
    np.testing.assert_allclose(part, expected, atol=1e-5)


def test_lamp_and_scattered_light():
    lamp = illumination((300, 400), 10, 0.2, (0.5, 0.5))
    assert lamp.at(slice(150, 151), slice(200, 201))[0, 0] == pytest.approx(1)
    assert lamp.at(slice(0, 1), slice(0, 1))[0, 0] == pytest.approx(0.8)
    haze = scattered((400, 400), 4, np.array([[200.0, 200.0], [-50.0, 3.0]]), np.ones(2), 20)
    assert haze.at(slice(0, 400), slice(0, 400)).sum() == pytest.approx(1, rel=0.02)


def test_nuclei_keep_their_distance():
    radii = np.random.default_rng(0).uniform(10, 25, 80)
    centres = place(np.random.default_rng(1), radii, (600, 600))
    found = ~np.isnan(centres[:, 0])
    assert found.sum() > 70
    gaps = np.hypot(*(centres[found, None] - centres[None, found]).transpose(2, 0, 1))
    larger = np.maximum.outer(radii[found], radii[found])
    np.fill_diagonal(gaps, np.inf)
    assert (gaps >= larger).all()
    touching = gaps < np.add.outer(radii[found], radii[found])
    assert touching.any()


def test_nucleus_has_about_its_size_and_signals_lie_in_it():
    rng = np.random.default_rng(5)
    areas = []
    for _ in range(20):
        nucleus = draw_nucleus(rng, 20, 1.3, 0.04, 0.15, 0.13, 5)
        areas.append(nucleus.mask.sum())
        half = reach(20, 1.3)
        assert nucleus.mask.shape == (2 * half + 1,) * 2
        edge = np.ones(nucleus.mask.shape, bool)
        edge[1:-1, 1:-1] = False
        assert not nucleus.mask[edge].any()
        dots = draw_signals(rng, nucleus, 20, [2, 3, 0, 1], "G1")
        assert {dot.probe for dot in dots} == {0, 1, 3}
        places = np.rint([[dot.y + half, dot.x + half] for dot in dots]).astype(int)
        assert (nucleus.depth[tuple(places.T)] < 1.1).all()
    assert np.mean(areas) == pytest.approx(np.pi * 20**2, rel=0.12)


def test_shared_pixels_are_counted_once_for_each_nucleus():
    tally = Tally(3, (4, 4))
    owners, stacked = np.zeros((4, 4), np.uint32), np.zeros((4, 4), np.uint8)
    masks = np.zeros((3, 4, 4), bool)
    masks[0, :2] = True  # rows 0, 1
    masks[1, 1:3] = True  # rows 1, 2
    masks[2, 1, :2] = True  # two pixels of row 1, upon both others
    for number, mask in enumerate(masks, start=1):
        tally.overlap(number, mask, owners, stacked)
        stacked += mask
        owners[mask] = number
    tally.count(0, owners)
    scene = pd.DataFrame({"abnormal": [False] * 3, "blur_px": 1.0, **dict.fromkeys(PROBES, 2)})
    table = tally.table(scene)
    assert list(table["overlapped"]) == [0.5, 0.5, 1.0]
    assert list(table["y_px"]) == [0.0, 1.67, 1.0]  # second: (2·1 + 4·2) / 6
    assert list(table["touches_border"]) == [1, 1, 1]


def plain_watershed(dapi: np.ndarray) -> np.ndarray:
    smooth = gaussian(dapi.astype(float), 1, preserve_range=True)
    foreground = ndimage.binary_fill_holes(smooth > threshold_otsu(smooth))
    distance = ndimage.gaussian_filter(ndimage.distance_transform_edt(foreground), 1)
    peaks = peak_local_max(distance, min_distance=10, labels=label(foreground))
    seeds = np.zeros(dapi.shape, int)
    seeds[tuple(peaks.T)] = np.arange(1, len(peaks) + 1)
    return watershed(-distance, seeds, mask=foreground)


def hand_made_features(dapi: np.ndarray, labels: np.ndarray) -> pd.DataFrame:
    light = dapi - np.median(dapi[labels == 0])
    gradient = ndimage.gaussian_gradient_magnitude(light, 1)
    laplace = np.abs(ndimage.gaussian_laplace(light, 1.5))
    names = ("area", "eccentricity", "solidity", "perimeter", "intensity_mean", "intensity_std")
    table = pd.DataFrame(
        regionprops_table(labels, np.dstack([light, gradient, laplace]), properties=names)
    )
    mean = table["intensity_mean-0"].clip(lower=1)
    return pd.DataFrame(
        {
            "area": np.log(table["area"]),
            "eccentricity": table["eccentricity"],
            "solidity": table["solidity"],
            "roundness": 4 * np.pi * table["area"] / table["perimeter"].clip(lower=1) ** 2,
            "mean": np.log(mean),
            "CV": np.log(table["intensity_std-0"].clip(lower=0.1) / mean),
            "integrated": np.log(mean * table["area"]),
            "gradient": np.log(table["intensity_mean-1"] / mean),
            "Laplace": np.log(table["intensity_mean-2"] / mean),
            "Laplace SD": np.log(table["intensity_std-2"].clip(lower=0.01) / mean),
        }
    )


def auroc(score: np.ndarray, positive: np.ndarray) -> float:
    ranks = pd.Series(score).rank().to_numpy()
    n = positive.sum()
    return (ranks[positive].sum() - n * (n + 1) / 2) / (n * (~positive).sum())


@pytest.mark.research
def test_fields_are_not_easy():
    """Print and bound how well two simple methods do; see docs/simulation.md."""
    slides, fields = 6, 4
    hits, features, truth = [], [], []
    for slide in range(slides):
        for number in range(fields):
            wanted = Field(1024, 1024, nuclei=120, abnormal=0.15, seed=100 * slide + number)
            image, labels, cells = render(wanted, draw_slide(slide))
            hits.append(match(iou_matrix(labels, plain_watershed(image[0]))))
            features.append(hand_made_features(image[0].astype(float), labels))
            truth.append(cells.assign(fit=number < fields // 2))
    pooled = Matches(*np.sum(hits, axis=0))
    print(f"\nwatershed: pooled F1 {pooled.f1:.3f}, by field {[round(h.f1, 2) for h in hits]}")
    truth = pd.concat(truth, ignore_index=True)
    whole = truth["touches_border"] == 0
    truth = truth[whole]
    features = pd.concat(features, ignore_index=True)[whole]
    names, features = features.columns, features.to_numpy()
    sick = (truth["class"] == "abnormal").to_numpy()
    bank = truth["fit"].to_numpy() & ~sick
    test = ~truth["fit"].to_numpy()
    standard = (features - features[bank].mean(0)) / features[bank].std(0)
    distance = KDTree(standard[bank]).query(standard[test], k=2)[0].mean(1)
    area = auroc(distance, sick[test])
    alone = {n: auroc(standard[:, i], sick) for i, n in enumerate(names)}
    alone = {n: float(round(max(a, 1 - a), 2)) for n, a in alone.items()}
    print(f"features: AUROC {area:.3f}; each alone {alone}")
    assert 0.6 < pooled.f1 <= 0.92
    assert 0.8 < area <= 0.97
    assert max(alone.values()) < 0.95
