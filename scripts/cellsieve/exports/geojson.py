"""Outlines of nuclei as the GeoJSON that QuPath imports.

Coordinates are pixels of the field with corners at whole numbers: the pixel in
row 3, column 5 covers ``x`` 5…6 and ``y`` 3…4, as in QuPath. An outline that was
not simplified holds the centre of exactly the nucleus's own pixels.
"""

import json
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from skimage.measure import find_contours
from tqdm import tqdm

from cellsieve.files import atomic
from cellsieve.objects import batches, bounding_boxes

TOLERANCE_PX = 0.5

CLASS_COLOURS = {
    "normal": (70, 140, 90),
    "suspicious": (214, 40, 40),
    "not_assessable": (130, 130, 130),
}
CAC_COLOUR = (190, 60, 200)

_NOT_MEASUREMENTS = ("field", "slide", "patient", "cell")


def write_geojson(path: Path | str, labels: Any, cells: pd.DataFrame) -> None:
    """Write one FeatureCollection with an outline, class and measurements a nucleus.

    Parameters
    ----------
    path : path-like
        Written atomically, feature by feature: memory does not grow with the field.
    labels : array-like, (H, W), integer
        Label image; 0 is background.
    cells : DataFrame
        The field's rows of ``cells.csv``, one a label.

    Raises
    ------
    ValueError
        If the rows are not of exactly the labels of the image.

    Notes
    -----
    The format is that of QuPath 0.4 and later: https://qupath.readthedocs.io/
    """
    boxes = bounding_boxes(labels)
    if set(boxes.index) != set(cells["cell"]):
        raise ValueError("the table of cells and the label image are not of the same nuclei")
    properties = _Properties(cells)
    bar = tqdm(total=len(boxes), desc="outlines", unit="nucleus", disable=None)
    with atomic(path) as part, part.open("w", encoding="utf-8") as out, bar:
        out.write('{"type":"FeatureCollection","features":[')
        separator = "\n"
        for label, ring in outlines(labels, boxes):
            out.write(separator + _dump(properties.feature(label, ring)))
            separator = ",\n"
            bar.update()
        out.write("\n]}\n")


def outlines(
    labels: Any, boxes: pd.DataFrame, tolerance: float = TOLERANCE_PX
) -> Iterator[tuple[int, np.ndarray]]:
    """Yield the outline of every object, a batch of objects at a time.

    Parameters
    ----------
    labels : array-like, (H, W), integer
    boxes : DataFrame
        What `cellsieve.objects.bounding_boxes` returned.
    tolerance : float
        The farthest that simplification may move an outline, in pixels.

    Yields
    ------
    label : int
    ring : ndarray, (n, 2), float64
        ``(x, y)``, closed (first point = last), n ≥ 4, without self-crossing.
        Of an object in several pieces the largest; holes are filled.
    """
    for batch in batches(labels, boxes=boxes):
        block = np.asarray(labels[batch.region])
        origin = np.array([s.start for s in batch.region])
        rings = []
        for label, box in zip(batch.labels, boxes.loc[batch.labels].to_numpy(), strict=True):
            (y0, x0), (y1, x1) = box[:2] - origin, box[2:] - origin
            ring = _trace(block[y0:y1, x0:x1] == label)
            rings.append(ring[:, ::-1] + box[1::-1])
        yield from zip(batch.labels.tolist(), _simplify_valid(rings, tolerance), strict=True)


def simplify(rings: list[np.ndarray], tolerance: float) -> list[np.ndarray]:
    """Simplify many closed lines at once (Douglas and Peucker 1973).

    The same as `skimage.measure.approximate_polygon` for each ring, but all
    rings advance together: more than ten times faster on nuclei.

    Parameters
    ----------
    rings : list of ndarray, (n, 2)
        Closed lines: first point = last point.
    tolerance : float
        No removed point lies farther than this from the line that is left.

    Returns
    -------
    list of ndarray, (m, 2)
        A subset of each ring's points, with its first and last.
    """
    points = np.concatenate(rings)
    ends = np.cumsum([len(ring) for ring in rings])
    starts = ends - [len(ring) for ring in rings]
    keep = np.zeros(len(points), bool)
    keep[starts] = keep[ends - 1] = True
    while True:
        distance = _distance_to_chord(points, keep)
        chord = np.cumsum(keep) - 1
        farthest = np.maximum.reduceat(distance, np.flatnonzero(keep))[chord]
        worst = np.flatnonzero((distance > tolerance) & (distance == farthest))
        if not len(worst):
            break
        keep[worst[np.unique(chord[worst], return_index=True)[1]]] = True
    return [points[a:b][keep[a:b]] for a, b in zip(starts, ends, strict=True)]


def is_simple(ring: np.ndarray) -> bool:
    """Whether a closed line bounds an area and neither crosses, touches nor retraces itself."""
    start, end = ring[:-1], ring[1:]
    n = len(start)
    if n < 3:
        return False
    ahead, turned = end - start, np.roll(end - start, -1, axis=0)
    folds = (_cross(ahead, turned) == 0) & ((ahead * turned).sum(axis=1) < 0)
    steps = np.abs(np.subtract.outer(np.arange(n), np.arange(n)))
    apart = (steps > 1) & (steps < n - 1)
    return not (folds.any() or (_edges_meet(start, end) & apart).any())


class _Properties:
    """What a feature says beside its outline, looked up by label."""

    def __init__(self, cells: pd.DataFrame) -> None:
        self._field = cells["field"].iloc[0] if len(cells) else ""
        indexed = cells.set_index("cell")
        texts = indexed[["call", "fish_call", "reasons"]].astype("string").fillna("")
        self._texts = list(texts.itertuples(index=False, name=None))
        numbers = indexed.drop(columns=[c for c in _NOT_MEASUREMENTS if c in indexed])
        numbers = numbers.select_dtypes(["number", "bool"])
        self._names = list(numbers.columns)
        self._numbers = numbers.astype("Float64").to_numpy(np.float64, na_value=np.nan)
        self._row = {label: row for row, label in enumerate(indexed.index)}

    def feature(self, label: int, ring: np.ndarray) -> dict[str, Any]:
        row = self._row[label]
        values = zip(self._names, self._numbers[row].tolist(), strict=True)
        call, fish_call, reasons = self._texts[row]
        return {
            "type": "Feature",
            "id": str(uuid.uuid5(uuid.NAMESPACE_OID, f"cellsieve:{self._field}:{label}")),
            "geometry": {"type": "Polygon", "coordinates": [ring.tolist()]},
            "properties": {
                "objectType": "detection",
                "name": str(label),
                "classification": _classification(call, fish_call),
                "measurements": {k: v for k, v in values if np.isfinite(v)},
                "metadata": {"fish_call": fish_call, "reasons": reasons},
            },
        }


def _classification(call: str, fish_call: str) -> Mapping[str, Any]:
    """QuPath's class: the morphological call, with ``: cac`` added when FISH says so."""
    if fish_call == "cac":
        return {"name": f"{call}: cac", "color": CAC_COLOUR}
    return {"name": call, "color": CLASS_COLOURS[call]}


def _trace(mask: np.ndarray) -> np.ndarray:
    """Outer outline ``(y, x)`` of the largest piece, pixel corners at whole numbers."""
    contours = find_contours(np.pad(mask, 1), 0.5, fully_connected="high")
    ring = max(contours, key=_area) if len(contours) > 1 else contours[0]
    return ring - 0.5  # -1 for the padding, +0.5 from pixel centres to corners


def _simplify_valid(rings: list[np.ndarray], tolerance: float) -> list[np.ndarray]:
    """Simplify; a ring that would no longer be valid stays as it was traced."""
    return [
        slim if is_simple(slim) else ring
        for slim, ring in zip(simplify(rings, tolerance), rings, strict=True)
    ]


def _distance_to_chord(points: np.ndarray, keep: np.ndarray) -> np.ndarray:
    """Distance of each point to the segment between the kept points around it."""
    index = np.arange(len(points))
    before = np.maximum.accumulate(np.where(keep, index, 0))
    after = np.minimum.accumulate(np.where(keep, index, len(points))[::-1])[::-1]
    origin, chord = points[before], points[after] - points[before]
    length2 = np.maximum((chord**2).sum(axis=1), np.finfo(float).tiny)
    along = np.clip(((points - origin) * chord).sum(axis=1) / length2, 0, 1)
    return np.hypot(*(points - origin - along[:, None] * chord).T)


def _edges_meet(start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Which pairs of edges share a point, (n, n) bool."""
    chord = (end - start)[:, None]
    sides = [np.sign(_cross(chord, p[None] - start[:, None])) for p in (start, end)]
    straddles = sides[0] * sides[1] <= 0
    low, high = np.minimum(start, end), np.maximum(start, end)
    beside = ((low[:, None] <= high[None]) & (low[None] <= high[:, None])).all(axis=2)
    return straddles & straddles.T & beside


def _cross(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]


def _area(ring: np.ndarray) -> float:
    return abs(float(_cross(ring[:-1], ring[1:]).sum())) / 2


def _dump(feature: Mapping[str, Any]) -> str:
    return json.dumps(feature, separators=(",", ":"), allow_nan=False)
