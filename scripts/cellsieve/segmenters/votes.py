"""Every pixel of a nucleus votes for its centre; pixels that agree are one nucleus."""

from collections.abc import Mapping

import numpy as np
import torch
from scipy import ndimage
from skimage import measure
from torch import Tensor

from cellsieve.convolutions import fold_batch_norms
from cellsieve.segmenters.halves import join_halves
from cellsieve.segmenters.interface import Outlined
from cellsieve.segmenters.vote_network import STRIDE, VoteNetwork

DIAMETER = 32  # px, of the nuclei it was trained on
_SPREAD = 5.0  # px, Gaussian sigma over which votes are counted together
_APART = 10  # px between two centres at least
_ENOUGH = 12.0  # votes for a centre, px²
_CLOSE = 3.0  # px from a centre within which a vote is for it without doubt
_FAR = 12.0  # px from a centre beyond which a vote is for nothing
_SMALLEST = 80  # px² of a nucleus, a tenth of a typical one
_SMALLEST_CUT = 40  # px² of one that the border cuts
_FAINT = 1.0  # mean logit of a nucleus below which it is haze or debris
_LIKELY = -4.0  # logit from which a pixel may be nucleus between pixels that are


class VoteSegmenter:
    """`VoteNetwork` as a `cellsieve.segmenters.interface.Segmenter`."""

    engine = "votes"
    diameter = float(DIAMETER)
    side = 1024
    halo = 128
    step = STRIDE

    def __init__(
        self, state: Mapping[str, Tensor], notes: Mapping[str, str], name: str, device: str
    ):
        network = VoteNetwork()
        network.load_state_dict(state)
        network.eval()
        fold_batch_norms(network)
        self.network = network.to(device, memory_format=torch.channels_last)
        self.name = name
        self.device = device

    def segment(self, picture: np.ndarray, rows: np.ndarray, cols: np.ndarray) -> Outlined:
        """Outline the nuclei of a picture, see `Segmenter`."""
        logit, offsets = self.predict(picture)
        shown = tuple(slice(int(at[0]), int(at[-1]) + 1) for at in (rows, cols))
        labels, confidence = group(picture, logit, offsets, shown)
        return Outlined(draw(logit, labels, rows, cols), confidence)

    @torch.inference_mode()
    def predict(self, picture: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the logit of nucleus, (a, b), and the offsets to the centre, (2, a, b)."""
        batch = torch.from_numpy(np.ascontiguousarray(picture, np.float32))[None, None]
        batch = batch.to(self.device, memory_format=torch.channels_last)
        with torch.autocast(self.device, dtype=torch.bfloat16):
            maps = self.network(batch)[0].float().cpu().numpy()
        return maps[0], maps[1:]


def group(
    picture: np.ndarray,
    logit: np.ndarray,
    offsets: np.ndarray,
    shown: tuple[slice, slice] = np.s_[:, :],
) -> tuple[np.ndarray, np.ndarray]:
    """Gather the pixels that vote for the same centre.

    Parameters
    ----------
    picture : ndarray, (h, w), float32
        Tells halves of a nucleus, alike in brightness, from two nuclei.
    logit : ndarray, (h, w), float32
        Above 0 is nucleus.
    offsets : ndarray, (2, h, w), float32
        Rows and columns from each pixel to its centre.
    shown : tuple of slice, optional
        Part of the picture whose border cuts nuclei, of which little may be left.

    Returns
    -------
    labels : ndarray, (h, w), int32
        Also on pixels around nuclei that are not quite nucleus.
    confidence : ndarray, (n + 1,), float32
        Mean over the pixels of a nucleus: their probability, where they vote
        close to its centre, else 0.

    References
    ----------
    Leibe et al., IJCV 77:259 (2008), votes for centres; Neven et al., CVPR 2019,
    pixels of one instance gathered by their offsets.
    """
    at = np.nonzero(logit > _LIKELY)
    voted = [np.rint(i + o[at]).astype(np.int32) for i, o in zip(at, offsets, strict=True)]
    inside = [np.clip(v, 0, n - 1) for v, n in zip(voted, logit.shape, strict=True)]
    place = np.ravel_multi_index(inside, logit.shape)
    centres, distance = _centres(place[logit[at] > 0], logit.shape)
    labels = np.zeros(logit.shape, np.int32)
    labels[at] = centres.ravel()[place]
    close = np.zeros(logit.shape, bool)
    close[at] = distance.ravel()[place] <= _CLOSE
    labels = join_halves(labels * (logit > 0), picture, offsets)[labels]
    labels = _whole(labels, logit > 0, shown)
    labels = labels * _sure(labels, logit)[labels]
    return labels, _confidence(labels, np.where(close, 1 / (1 + np.exp(-logit)), 0), logit > 0)


def _centres(place: np.ndarray, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Find centres among votes; return for each pixel the nearest one, and how far it is."""
    votes = np.bincount(place, minlength=shape[0] * shape[1]).reshape(shape)
    density = ndimage.gaussian_filter(votes.astype(np.float32), _SPREAD)
    peak = density == ndimage.maximum_filter(density, 2 * _APART + 1)
    peak &= density * (2 * np.pi * _SPREAD**2) > _ENOUGH
    if not peak.any():
        return np.zeros(shape, np.int32), np.full(shape, np.inf, np.float32)
    numbers, _ = ndimage.label(peak, np.ones((3, 3)))
    distance, nearest = ndimage.distance_transform_edt(~peak, return_indices=True)
    return np.where(distance <= _FAR, numbers[tuple(nearest)], 0), distance


def _smallest(labels: np.ndarray, shown: tuple[slice, slice]) -> np.ndarray:
    """Least area of each label, px²."""
    least = np.full(labels.max() + 1, _SMALLEST)
    for line in (np.s_[0], np.s_[-1], np.s_[:, 0], np.s_[:, -1]):
        least[labels[shown][line]] = _SMALLEST_CUT
    return least


def _whole(labels: np.ndarray, nucleus: np.ndarray, shown: tuple[slice, slice]) -> np.ndarray:
    """Keep of each nucleus its largest piece, if large enough, and what is not quite nucleus."""
    sure = np.where(nucleus, labels, 0)
    pieces = measure.label(sure, connectivity=1)
    size = np.bincount(pieces.ravel())
    owner = np.zeros(len(size), np.int32)
    owner[pieces.ravel()] = sure.ravel()
    largest = np.zeros(labels.max() + 1, np.int64)
    by_size = np.argsort(size, kind="stable")
    largest[owner[by_size]] = by_size  # the last one that is written stays
    kept = (owner > 0) & (largest[owner] == np.arange(len(size)))
    kept &= size >= _smallest(sure, shown)[owner]
    whole = np.zeros(len(largest), bool)
    whole[owner[kept]] = True
    return np.where(nucleus, sure * kept[pieces], labels * whole[labels])


def _sure(labels: np.ndarray, logit: np.ndarray) -> np.ndarray:
    """Whether each label is a nucleus by the mean logit of its pixels, (n + 1,) bool."""
    inside = np.where(logit > 0, labels, 0).ravel()
    total = np.bincount(inside, logit.ravel(), minlength=labels.max() + 1)
    return total >= _FAINT * np.bincount(inside, minlength=len(total))


def _confidence(labels: np.ndarray, agreed: np.ndarray, nucleus: np.ndarray) -> np.ndarray:
    sure = np.where(nucleus, labels, 0).ravel()
    count = np.bincount(sure, minlength=labels.max() + 1)
    total = np.bincount(sure, agreed.ravel(), minlength=len(count))
    confidence = (total / np.maximum(count, 1)).astype(np.float32)
    confidence[0] = 0
    return confidence


def draw(logit: np.ndarray, labels: np.ndarray, rows: np.ndarray, cols: np.ndarray) -> np.ndarray:
    """Draw labels at another resolution, with the outline where the logit passes 0.

    Parameters
    ----------
    logit : ndarray, (a, b), float32
    labels : ndarray, (a, b), int32
        Also somewhat beyond the outlines.
    rows, cols : ndarray, (h,) and (w,), float64
        As `cellsieve.segmenters.interface.Segmenter.segment` takes them.

    Returns
    -------
    ndarray, (h, w), int32
    """
    fine = logit
    nearest = []
    for axis, at in enumerate((rows, cols)):
        length = logit.shape[axis]
        nearest.append(np.clip(np.floor(at).astype(int), 0, length - 1))
        low = np.clip(np.floor(at - 0.5).astype(int), 0, length - 2)
        part = np.clip(at - 0.5 - low, 0, 1).astype(np.float32)
        part = part[:, None] if axis == 0 else part
        fine = fine.take(low, axis) * (1 - part) + fine.take(low + 1, axis) * part
    return np.where(fine > 0, labels[np.ix_(*nearest)], 0)
