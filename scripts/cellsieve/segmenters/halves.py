"""Tell the two halves of a lobed nucleus from two nuclei that touch."""

import numpy as np

_JUMP = 9.0  # px between the votes of neighbouring pixels: below it they hardly disagree
_CONTRAST = 1.2  # of the brighter to the dimmer half
_LARGEST = 1000.0  # px² of both together: little more than a typical nucleus


def join_halves(labels: np.ndarray, picture: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Find the neighbours that are halves of one nucleus.

    Where two nuclei touch, the pixels on either side point to centres a diameter
    apart. Within a lobed nucleus the network is torn between one centre and two,
    and the votes change little from pixel to pixel. Halves are also alike in
    brightness and together no larger than a nucleus.

    Parameters
    ----------
    labels : ndarray, (h, w), int32
        0 = background.
    picture : ndarray, (h, w), float32
        Light above the background.
    offsets : ndarray, (2, h, w), float32
        Rows and columns from each pixel to its centre.

    Returns
    -------
    ndarray, (n + 1,), int32
        For each label the one that it becomes; of joined halves the lower one.
    """
    area = np.bincount(labels.ravel()).astype(np.float64)
    light = np.bincount(labels.ravel(), picture.ravel()) / np.maximum(area, 1)
    becomes = np.arange(len(area), dtype=np.int32)
    for first, second in _doubtful(labels, offsets):
        one, other = sorted((becomes[first], becomes[second]))
        alike = max(light[one], light[other]) < _CONTRAST * min(light[one], light[other])
        if one != other and alike and area[one] + area[other] < _LARGEST:
            area[one] += area[other]
            becomes[becomes == other] = one
    return becomes


def _doubtful(labels: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Pairs of labels whose votes hardly jump where they touch, (k, 2), the smallest jump first."""
    keys, jumps = [], []
    for axis in (0, 1):
        low, high = (np.moveaxis(labels, axis, 0)[part] for part in (np.s_[:-1], np.s_[1:]))
        votes = np.moveaxis(offsets, axis + 1, 1)
        at = np.nonzero((low > 0) & (high > 0) & (low != high))
        change = votes[:, 1:][:, *at] - votes[:, :-1][:, *at]
        change[axis] += 1  # the pixels themselves lie one apart
        pair = np.sort([low[at], high[at]], axis=0)
        keys.append(pair[0].astype(np.int64) * (labels.max() + 1) + pair[1])
        jumps.append(np.hypot(*change))
    pairs, which = np.unique(np.concatenate(keys), return_inverse=True)
    jump = np.bincount(which, np.concatenate(jumps)) / np.maximum(np.bincount(which), 1)
    order = np.argsort(jump, kind="stable")
    chosen = pairs[order[jump[order] < _JUMP]]
    return np.stack(np.divmod(chosen, labels.max() + 1), axis=1)
