"""Mask R-CNN as a segmenter: boxes of nuclei, a mask in each, the surer one in front."""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from cellsieve.convolutions import fold_batch_norms
from cellsieve.segmenters.interface import Outlined
from cellsieve.segmenters.maskrcnn_network import MaskRcnn

DIAMETER = 32.0  # px, of the nuclei it was trained on
_POSSIBLE = 0.1  # score of a box from which it is worth a closer look
_VISIBLE = 0.5  # share of a nucleus that surer ones must leave


class MaskRcnnSegmenter:
    """`MaskRcnn` as a `cellsieve.segmenters.interface.Segmenter`.

    Attributes
    ----------
    bfloat16 : bool
        Whether the network computes in bfloat16, as fields are segmented, or in float32.
    """

    engine = "maskrcnn"
    diameter = DIAMETER
    side = 1024
    step = 32

    def __init__(
        self, state: Mapping[str, Tensor], notes: Mapping[str, str], name: str, device: str
    ):
        network = MaskRcnn(notes["backbone"])
        network.load_state_dict(state)
        network.eval()
        fold_batch_norms(network)
        # not the best so many: what is kept must not depend on the rest of a picture
        network.rpn.score_thresh = _POSSIBLE
        self.halo = network.sight
        self.bfloat16 = True
        self.network = network.to(device, memory_format=torch.channels_last)
        self.name = name
        self.device = device

    def segment(self, picture: np.ndarray, rows: np.ndarray, cols: np.ndarray) -> Outlined:
        """Outline the nuclei of a picture, see `Segmenter`."""
        boxes, scores, masks = self.detect(picture)
        seen = visible(boxes, masks, picture.shape)
        labels = np.zeros((len(rows), len(cols)), np.int32)
        # the least sure first: others are drawn over it
        for label, n in reversed(list(enumerate(seen, 1))):
            window, inside = paste(boxes[n], masks[n], rows, cols)
            labels[window][inside] = label
        return Outlined(labels, np.concatenate([[0], scores[seen]]).astype(np.float32))

    @torch.inference_mode()
    def detect(self, picture: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return boxes (n, 4), falling scores (n,) and masks (n, 28, 28), all float32."""
        batch = torch.from_numpy(np.ascontiguousarray(picture, np.float32))[None, None]
        batch = batch.to(self.device, memory_format=torch.channels_last)
        with torch.autocast(self.device, dtype=torch.bfloat16, enabled=self.bfloat16):
            found = self.network(batch)[0]
        boxes, scores = (found[name].cpu().numpy() for name in ("boxes", "scores"))
        return boxes, scores, found["masks"][:, 0].float().cpu().numpy()


def visible(boxes: np.ndarray, masks: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Leave out nuclei that are mostly hidden by surer ones: the same nucleus once more.

    Parameters
    ----------
    boxes : ndarray, (n, 4)
        x and y of the first and the last corner, px; the surest first.
    masks : ndarray, (n, m, m)
        Chance of nucleus over each box.
    shape : tuple of int
        Of the picture.

    Returns
    -------
    ndarray, int64
        Numbers of those that are seen, in order.
    """
    taken = np.zeros(shape, bool)
    rows, cols = (np.arange(n) + 0.5 for n in shape)
    seen = []
    for n, (box, mask) in enumerate(zip(boxes, masks, strict=True)):
        window, inside = paste(box, mask, rows, cols)
        free = inside & ~taken[window]
        if free.sum() > _VISIBLE * inside.sum():
            seen.append(n)
            taken[window] |= inside
    return np.array(seen, np.int64)


def paste(
    box: np.ndarray, mask: np.ndarray, rows: np.ndarray, cols: np.ndarray
) -> tuple[tuple[slice, slice], np.ndarray]:
    """Draw a mask where some pixels of a result lie, interpolating linearly.

    Parameters
    ----------
    box : ndarray, (4,)
        x and y of the first and the last corner, px.
    mask : ndarray, (m, m)
        Chance of nucleus over the box; beyond it is none.
    rows, cols : ndarray, (h,) and (w,), ascending
        Where the result's pixels have their middles, px.

    Returns
    -------
    window : tuple of slice
        The pixels whose middles are in the box.
    inside : ndarray, bool
        Which of them are nucleus.
    """
    window, weights = [], []
    for at, low, high in ((rows, box[1], box[3]), (cols, box[0], box[2])):
        part = slice(*np.searchsorted(at, (low, high)))
        place = (at[part] - low) / (high - low) * len(mask) - 0.5
        window.append(part)
        weights.append(np.clip(1 - np.abs(place[:, None] - np.arange(len(mask))), 0, 1))
    return tuple(window), weights[0] @ mask @ weights[1].T > 0.5
