"""Crops of simulated nuclei, some of them abnormal, on slides of many kinds."""

from dataclasses import replace
from multiprocessing import Pool
from typing import NamedTuple

import numpy as np

from cellsieve.anomaly.nucleus_features import Ruler
from cellsieve.crops import SIDE, cut_crops
from cellsieve.objects import bounding_boxes
from cellsieve.simulation.draws import generator
from cellsieve.simulation.render import render
from cellsieve.simulation.scene import Field
from cellsieve.simulation.slide import Slide, draw_slide

_DIAMETER_UM = 13.7
_DIAMETERS = (25, 62)  # px of a typical nucleus
_SCENE = (19.0, 36.0)  # side of a scene in diameters: the larger, the smaller they are
_CROWDED = (0.15, 0.26)  # nuclei to a square of one diameter
_ABNORMAL = 0.3
_DARK = 10  # percentile of a field's light that counts as background


class Cases(NamedTuple):
    """Nuclei whose kind is known, since they were drawn.

    Attributes
    ----------
    crops : ndarray, (n, 2, s, s), float16
        As `cellsieve.crops.cut_crops` gives them.
    abnormal : ndarray, (n,), bool
    """

    crops: np.ndarray
    abnormal: np.ndarray


def draw_cases(seed: int, scenes: int, workers: int, diameter: int) -> Cases:
    """Draw fields, each of a slide of its own, and cut the whole nuclei out of them.

    Parameters
    ----------
    seed, scenes : int
    workers : int
        Processes; the crops do not depend on them.
    diameter : int
        Pixels of a typical nucleus in the crops.
    """
    with Pool(workers) as pool:
        drawn = pool.starmap(_cases, [(seed, i, diameter) for i in range(scenes)])
    crops = np.concatenate([np.zeros((0, 2, SIDE, SIDE), np.float16), *(c.crops for c in drawn)])
    return Cases(crops, np.concatenate([np.zeros(0, bool), *(c.abnormal for c in drawn)]))


def _cases(seed: int, index: int, diameter: int) -> Cases:
    rng = generator("cases", seed, index)
    across = float(np.exp(rng.uniform(*np.log(_DIAMETERS))))
    side = int(across * np.interp(across, _DIAMETERS, _SCENE[::-1]))
    nuclei = int(rng.uniform(*_CROWDED) * (side / across) ** 2)
    own = int(rng.integers(2**31))
    size = _DIAMETER_UM / across, _DIAMETER_UM
    field = Field(side, side, nuclei, _ABNORMAL, own, *size)
    image, labels, table = render(field, _any_slide(rng, draw_slide(own)))
    alone = table[(table["overlapped"] == 0) & (table["touches_border"] == 0)]
    light = image[0].astype(np.float32)
    light -= np.percentile(light, _DARK)
    typical = float(np.median(light[labels > 0])) if len(table) else 1.0
    boxes = bounding_boxes(labels).loc[alone["label"]]
    crops = cut_crops(light, labels, boxes, Ruler(across, 1.0), typical, diameter)
    return Cases(crops, (alone["class"] == "abnormal").to_numpy())


def _any_slide(rng: np.random.Generator, slide: Slide) -> Slide:
    """Let optics, camera and nuclei differ, on some slides far more than in one laboratory."""
    odd = rng.random()

    def within(low: float, high: float) -> float:
        return 1 + odd * (rng.uniform(low, high) - 1)

    def about(spread: float) -> float:
        return float(np.exp(odd * spread * rng.standard_normal()))

    return replace(
        slide,
        blur_um=slide.blur_um * within(0.7, 2.0),
        depth_um=slide.depth_um * within(0.5, 1.5),
        stain=slide.stain * about(0.5),
        read_noise=slide.read_noise * about(0.4),
        glare=slide.glare * within(0.5, 1.5),
        flatness=slide.flatness * within(0.7, 1.4),
        elongation=1 + (slide.elongation - 1) * within(0.5, 1.4),
        irregularity=slide.irregularity * about(0.25),
        contrast=slide.contrast * about(0.25),
        coarseness=slide.coarseness * about(0.25),
    )
