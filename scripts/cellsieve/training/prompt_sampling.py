"""Prompts as a coarse segmentation gives them: right, inexact, and wrong."""

from typing import NamedTuple

import numpy as np
from scipy import ndimage

from cellsieve.promptable.small_network import STRIDE, TOKENS, WINDOW

POINTS = 6  # two corners, one point inside, three in neighbours
_SMALLEST = 12  # px; less of a nucleus is not asked for
_KINDS = ("box", "point", "box and point", "point and neighbours")
_SHARES = (0.4, 0.25, 0.2, 0.15)
_WRONG = 0.15  # share of prompts at what is no single nucleus
_NOTHING, _OUTSIDE, _INSIDE, _FIRST, _LAST = -1, 0, 1, 2, 3


class Question(NamedTuple):
    """One prompt in its window.

    Attributes
    ----------
    corner : ndarray, (2,), int
        First (row, column) of the window, in tokens of the picture.
    points : ndarray, (6, 2), float32
        (x, y) in pixels of the window.
    kinds : ndarray, (6,), int64
        As `SmallSam.answer` takes them.
    labels : ndarray, (96, 96), int32
        The truth in the window.
    nucleus : int
        The label that is asked for; 0 for a wrong prompt.
    """

    corner: np.ndarray
    points: np.ndarray
    kinds: np.ndarray
    labels: np.ndarray
    nucleus: int


class _Nuclei(NamedTuple):
    """Of the nuclei that can be asked for: labels, boxes (x0, y0, x1, y1) and centres (x, y)."""

    labels: np.ndarray
    boxes: np.ndarray
    centres: np.ndarray


def sample_questions(rng: np.random.Generator, labels: np.ndarray, most: int) -> list[Question]:
    """Ask for some of the nuclei of a picture.

    Parameters
    ----------
    rng : Generator
    labels : ndarray, (h, w), int32
    most : int
        Largest number of prompts.

    Returns
    -------
    list of Question
        Empty when no nucleus is large enough.
    """
    nuclei = _measure(labels)
    padded = np.pad(labels, WINDOW)
    questions = []
    for i in rng.permutation(len(nuclei.labels))[:most]:
        wrong = rng.random() < _WRONG
        box, centre = _misled(rng, nuclei, i, labels) if wrong else _meant(rng, nuclei, i, labels)
        kind = rng.choice(_KINDS, p=_SHARES)
        points, kinds, middle = _spell(kind, box, centre, nuclei.centres, rng.random() < 0.2)
        corner = np.rint(middle / STRIDE - TOKENS / 2).astype(int)
        x, y = STRIDE * corner + WINDOW
        window = padded[y : y + WINDOW, x : x + WINDOW]
        label = 0 if wrong else int(nuclei.labels[i])
        points = (points - STRIDE * corner).astype(np.float32)
        questions.append(Question(corner[::-1].copy(), points, kinds, window, label))
    return questions


def _measure(labels: np.ndarray) -> _Nuclei:
    numbers, boxes, centres = [], [], []
    for label, box in enumerate(ndimage.find_objects(labels), 1):
        if box is None:
            continue
        y, x = np.nonzero(labels[box] == label)
        if len(y) >= _SMALLEST:
            rows, cols = box
            numbers.append(label)
            boxes.append((cols.start, rows.start, cols.stop, rows.stop))
            centres.append((x.mean() + cols.start + 0.5, y.mean() + rows.start + 0.5))
    return _Nuclei(np.array(numbers), np.array(boxes, float), np.array(centres))


def _meant(rng, nuclei: _Nuclei, i: int, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Box and point of a nucleus, as inexact as a coarse segmentation's."""
    box, centre = nuclei.boxes[i], nuclei.centres[i]
    extent = np.tile(box[2:] - box[:2], 2)
    jittered = box + rng.choice([0.0, 0.03, 0.08]) * extent * rng.standard_normal(4)
    x0, y0, x1, y1 = box.astype(int)
    mask = labels[y0:y1, x0:x1] == nuclei.labels[i]
    x, y = centre.astype(int) - (x0, y0)
    if rng.random() < 0.4 or not mask[min(y, len(mask) - 1), min(x, mask.shape[1] - 1)]:
        depth = ndimage.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
        inner = np.argwhere(depth > 0.4 * depth.max())
        y, x = inner[rng.integers(len(inner))]
        centre = np.array([x + x0 + 0.5, y + y0 + 0.5])
    return jittered, centre


def _misled(rng, nuclei: _Nuclei, i: int, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Box and point of two nuclei taken for one, of a part of one, or of none."""
    box, choice = nuclei.boxes[i], rng.integers(3)
    if choice == 0 and len(nuclei.labels) > 1:
        distance = np.hypot(*(nuclei.centres - nuclei.centres[i]).T)
        distance[i] = np.inf
        other = nuclei.boxes[np.argmin(distance)]
        box = np.concatenate([np.minimum(box[:2], other[:2]), np.maximum(box[2:], other[2:])])
    elif choice == 1:
        axis = rng.integers(2)
        middle = (box[axis] + box[axis + 2]) / 2
        box = box.copy()
        box[axis + 2 * rng.integers(2)] = middle
    else:
        middle = rng.uniform(0, labels.shape[::-1])
        half = rng.uniform(5, 20, 2)
        box = np.concatenate([middle - half, middle + half])
    return box, (box[:2] + box[2:]) / 2


def _spell(
    kind: str, box: np.ndarray, centre: np.ndarray, centres: np.ndarray, crowded: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Write a prompt as points (x, y) of the picture, their kinds, and its middle."""
    points = np.zeros((POINTS, 2))
    kinds = np.full(POINTS, _NOTHING, np.int64)
    middle = centre
    if "box" in kind:
        points[:2], kinds[:2] = box.reshape(2, 2), (_FIRST, _LAST)
        middle = (box[:2] + box[2:]) / 2
    if "point" in kind:
        points[2], kinds[2] = centre, _INSIDE
    if "neighbours" in kind or (kind == "box" and crowded):
        offset = centres - middle
        near = (np.abs(offset) < WINDOW / 2).all(axis=1)
        # the nearest is the nucleus itself
        order = np.argsort(np.hypot(*offset.T))[1:4]
        for slot, j in enumerate(order[near[order]], start=3):
            points[slot], kinds[slot] = centres[j], _OUTSIDE
    return points, kinds, middle
