"""A picture to judge a field's signals by: a dozen nuclei in every probe, candidates ringed."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image, ImageDraw, ImageFont

from cellsieve.fish.spot_threshold import signal_threshold
from cellsieve.objects import bounding_boxes
from cellsieve.pictures import RGB, as_rgb, contrast_limits, crop, enlarge, outline_overlay, stretch

NUCLEI = 10
SIDE_PX = 150  # of one crop in the picture, about
GAP = 3
MARGIN = 60  # for the names of the probes
SIGNAL: RGB = (255, 230, 0)
DOUBTFUL: RGB = (0, 150, 255)
DOUBT = 0.5  # of the threshold: fainter candidates are not ringed
OUTLINE: RGB = (90, 90, 90)


def draw_signals(
    planes: Mapping[str, Any], labels: Any, signals: pd.DataFrame, limit: float
) -> np.ndarray:
    """Draw the same nuclei, a column each, in every probe, a row each.

    Parameters
    ----------
    planes : mapping of str to array-like, (H, W), number
        Probe name to plane.
    labels : array-like, (H, W), integer
    signals : DataFrame
        With the columns of `tables.SIGNALS`.
    limit : float
        Lowest contrast that was detected.

    Returns
    -------
    ndarray, (h, w, 3), uint8
        Candidates that this field alone would call signals are ringed in
        yellow, those of half that contrast in blue; the slide's threshold is
        set later.
    """
    boxes = _chosen(bounding_boxes(labels), labels.shape)
    if boxes.empty or not planes:
        return _words("no nuclei" if planes else "no probes")
    side = int(1.1 * max((boxes.y1 - boxes.y0).max(), (boxes.x1 - boxes.x0).max()))
    factor = max(1, round(SIDE_PX / side))
    pitch = side * factor + GAP
    canvas = Image.new("RGB", (MARGIN + len(boxes) * pitch, len(planes) * pitch))
    for row, (probe, plane) in enumerate(planes.items()):
        top = row * pitch
        ImageDraw.Draw(canvas).text((4, top + 4), probe, font=ImageFont.load_default(14))
        spots = signals[signals["probe"] == probe]
        level = _level(spots, limit)
        limits = contrast_limits(plane, 1, 99.95, where=labels)
        for column, box in enumerate(boxes.itertuples()):
            centre = ((box.y0 + box.y1) / 2, (box.x0 + box.x1) / 2)
            tile = stretch(crop(plane, centre, side), limits)
            nuclei = enlarge(crop(labels, centre, side), factor, smooth=False)
            picture = outline_overlay(as_rgb(enlarge(tile, factor)), nuclei, OUTLINE)
            origin = [round(c) - side // 2 for c in centre]
            canvas.paste(
                _ringed(picture, spots, origin, factor, level), (MARGIN + column * pitch, top)
            )
    return np.asarray(canvas)


def _chosen(boxes: pd.DataFrame, shape: tuple[int, int]) -> pd.DataFrame:
    """Nuclei spread evenly over the field, whole ones if there are any."""
    whole = boxes[(boxes.y0 > 0) & (boxes.x0 > 0) & (boxes.y1 < shape[0]) & (boxes.x1 < shape[1])]
    boxes = boxes if whole.empty else whole
    rows = np.linspace(0, len(boxes) - 1, min(NUCLEI, len(boxes))).round().astype(int)
    return boxes.iloc[rows]


def _level(spots: pd.DataFrame, limit: float) -> float:
    inside = spots.loc[spots["cell"] > 0, "contrast"].to_numpy()
    level = signal_threshold(inside, limit)
    return np.inf if level is None else level


def _ringed(
    picture: np.ndarray, spots: pd.DataFrame, origin: list[int], factor: int, level: float
) -> Image.Image:
    image = Image.fromarray(picture)
    pen = ImageDraw.Draw(image)
    y = (spots["y_px"].to_numpy() - origin[0] + 0.5) * factor
    x = (spots["x_px"].to_numpy() - origin[1] + 0.5) * factor
    shown = spots["contrast"].to_numpy() >= DOUBT * level
    near = shown & (y > 0) & (x > 0) & (y < picture.shape[0]) & (x < picture.shape[1])
    for contrast, cy, cx in zip(spots["contrast"][near], y[near], x[near], strict=True):
        radius, colour = (7, SIGNAL) if contrast >= level else (3, DOUBTFUL)
        pen.ellipse((cx - radius, cy - radius, cx + radius, cy + radius), outline=colour)
    return image


def _words(text: str) -> np.ndarray:
    image = Image.new("RGB", (240, 40))
    ImageDraw.Draw(image).text((8, 8), text, font=ImageFont.load_default(16))
    return np.asarray(image)
