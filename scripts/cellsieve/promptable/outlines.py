"""From a model's logits to masks in pixels of the field."""

import numpy as np
from scipy import ndimage

from cellsieve.promptable.interface import Answers

_STABLE = 1.0  # logits; SAM's own offset


def stability(logits: np.ndarray) -> np.ndarray:
    """Intersection over union of each mask drawn at a logit of +1 and at one of -1.

    Parameters
    ----------
    logits : ndarray, (..., h, w)

    Returns
    -------
    ndarray, (...), float64
        0 when there is nothing above -1.
    """
    inner = np.count_nonzero(logits > _STABLE, axis=(-2, -1))
    outer = np.count_nonzero(logits > -_STABLE, axis=(-2, -1))
    return inner / np.maximum(outer, 1)


def choose_masks(answers: Answers, boxes: np.ndarray | None) -> np.ndarray:
    """Choose one of the masks that each prompt was answered with.

    The masks are a part of what was pointed at, the whole, a group it belongs
    to. The predicted IoU says how good each is as a mask, not which of them is
    meant; the box says that, where one was given. So it is the mask with the
    highest sum of its predicted IoU and the IoU of its bounding box with the
    prompt's. Empty masks come last.

    Parameters
    ----------
    answers : Answers
        For N prompts, M masks each.
    boxes : ndarray, (N, 4), or None
        ``(x0, y0, x1, y1)`` in pixels of the picture.

    Returns
    -------
    ndarray, (N,), int
    """
    inside = answers.logits > 0
    worth = np.where(inside.any(axis=(-2, -1)), answers.predicted_iou, -np.inf)
    if boxes is not None:
        worth = worth + _box_agreement(inside, answers, boxes)
    return np.argmax(worth, axis=1)


def _box_agreement(inside: np.ndarray, answers: Answers, boxes: np.ndarray) -> np.ndarray:
    """IoU of each mask's bounding box with its prompt's, (N, M)."""
    overlap = extent = asked = 1.0
    # axis of the mask that is left, its origin, and the columns of a box
    for other, origin, low, high in ((-1, 0, 1, 3), (-2, 1, 0, 2)):
        shown = inside.any(axis=other)
        corner = answers.origins[:, origin, None]
        first = corner + answers.stride * np.argmax(shown, axis=-1)
        last = shown.shape[-1] - np.argmax(shown[..., ::-1], axis=-1)
        last = corner + answers.stride * last
        start, stop = boxes[:, low, None], boxes[:, high, None]
        overlap = overlap * np.maximum(0, np.minimum(last, stop) - np.maximum(first, start))
        extent = extent * (last - first)
        asked = asked * (stop - start)
    return overlap / (extent + asked - overlap)


def trace(
    logits: np.ndarray,
    corner: tuple[float, float],
    stride: float,
    shape: tuple[int, int],
    point: tuple[float, float],
) -> tuple[int, int, np.ndarray]:
    """Draw the mask of some logits in pixels of the field.

    The logits are interpolated and then cut at 0, so that the outline is as
    fine as the field's pixels. Of several pieces, that which holds the point
    stays, or the largest; holes are filled.

    Parameters
    ----------
    logits : ndarray, (h, w)
    corner : tuple of float
        ``(y, x)`` of the logits' upper left corner in pixels of the field; the
        middle of its first pixel is (0.5, 0.5).
    stride : float
        Pixels of the field to a pixel of the logits.
    shape : tuple of int
        Height and width of the field.
    point : tuple of float
        ``(y, x)`` in pixels of the field.

    Returns
    -------
    top, left : int
        First row and column of the mask's box.
    mask : ndarray, (h, w), bool
        Within its box; (0, 0) when nothing is above 0.
    """
    nothing = (0, 0, np.zeros((0, 0), bool))
    inside = logits > 0
    if not inside.any():
        return nothing
    first, at = zip(
        *(
            _positions(inside.any(axis=1 - axis), corner[axis], stride, shape[axis])
            for axis in (0, 1)
        ),
        strict=True,
    )
    mask = _interpolate(logits, *at) > 0
    if not mask.any():
        return nothing
    mask = _one_piece(mask, tuple(int(p) - f for p, f in zip(point, first, strict=True)))
    rows, cols = (np.flatnonzero(mask.any(axis=1 - axis)) for axis in (0, 1))
    mask = mask[rows[0] : rows[-1] + 1, cols[0] : cols[-1] + 1]
    return first[0] + int(rows[0]), first[1] + int(cols[0]), mask


def _positions(
    shown: np.ndarray, corner: float, stride: float, length: int
) -> tuple[int, np.ndarray]:
    """First pixel of the field that the mask may reach, and where pixels lie in the logits."""
    found = np.flatnonzero(shown)
    # interpolation carries a mask at most to the middle of the next logit
    low = corner + stride * max(0.0, found[0] - 0.5)
    high = corner + stride * min(float(len(shown)), found[-1] + 1.5)
    start, stop = max(0, int(np.ceil(low - 0.5))), min(length, int(np.floor(high - 0.5)) + 1)
    at = (np.arange(start, stop) + 0.5 - corner) / stride - 0.5
    return start, np.clip(at, 0, len(shown) - 1)


def _interpolate(logits: np.ndarray, at_y: np.ndarray, at_x: np.ndarray) -> np.ndarray:
    """Bilinear values at every pair of a row and a column position."""
    for at in (at_y, at_x):
        low = np.minimum(at.astype(int), max(0, logits.shape[0] - 2))
        share = (at - low)[:, None]
        following = np.minimum(low + 1, logits.shape[0] - 1)
        logits = (logits[low] * (1 - share) + logits[following] * share).T
    return logits


def _one_piece(mask: np.ndarray, point: tuple[int, int]) -> np.ndarray:
    pieces, count = ndimage.label(mask)
    if count > 1:
        held = 0
        if all(0 <= p < n for p, n in zip(point, mask.shape, strict=True)):
            held = pieces[point]
        mask = pieces == (held or 1 + np.argmax(np.bincount(pieces.ravel())[1:]))
    return _filled(mask)


def _filled(mask: np.ndarray) -> np.ndarray:
    """Fill holes; many times faster on small masks than `ndimage.binary_fill_holes`."""
    outside, count = ndimage.label(np.pad(~mask, 1, constant_values=True))
    return mask if count == 1 else (outside != outside[0, 0])[1:-1, 1:-1]
