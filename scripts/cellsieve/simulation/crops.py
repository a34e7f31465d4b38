"""Crops of simulated nuclei, as varied as those of many laboratories."""

from multiprocessing import Pool

import numpy as np

from cellsieve.anomaly.nucleus_features import Ruler
from cellsieve.crops import SIDE, cut_crops
from cellsieve.objects import bounding_boxes
from cellsieve.simulation.draws import generator
from cellsieve.simulation.exposure import expose_varied
from cellsieve.simulation.varied import draw_scene

_DIAMETERS = (12, 40)  # px of a typical nucleus where scenes are drawn
_SCENE = 9  # side of a scene in diameters
_SMALLEST = 0.3  # of a typical nucleus' area: no micronuclei
_MOST = 12  # nuclei of a scene


def draw_crops(seed: int, scenes: int, workers: int) -> np.ndarray:
    """Draw scenes and cut the whole nuclei out of them.

    Parameters
    ----------
    seed, scenes : int
    workers : int
        Processes; the crops do not depend on them.

    Returns
    -------
    ndarray, (n, 2, s, s), float16
        As `cellsieve.crops.cut_crops` gives them.
    """
    with Pool(workers) as pool:
        drawn = pool.starmap(_crops, [(seed, i) for i in range(scenes)], chunksize=8)
    return np.concatenate([np.zeros((0, 2, SIDE, SIDE), np.float16), *drawn])


def _crops(seed: int, index: int) -> np.ndarray:
    rng = generator("scene of crops", seed, index)
    diameter = float(np.exp(rng.uniform(*np.log(_DIAMETERS))))
    scene = draw_scene(rng, diameter, int(_SCENE * diameter))
    light, labels = expose_varied(rng, scene), scene.labels
    boxes = bounding_boxes(labels)
    area = np.bincount(labels.ravel(), minlength=boxes.index.max() + 1 if len(boxes) else 1)
    whole = (boxes[["y0", "x0"]] > 0).all(axis=1) & (boxes.y1 < labels.shape[0])
    whole &= boxes.x1 < labels.shape[1]
    large = area[boxes.index] >= _SMALLEST * np.pi / 4 * diameter**2
    chosen = boxes[whole & large]
    chosen = chosen.iloc[np.sort(rng.permutation(len(chosen))[:_MOST])]
    return cut_crops(light, labels, chosen, Ruler(diameter, 1.0), 1.0)
