"""Cellpose: every pixel of a nucleus flows to its centre; those that meet are one nucleus."""

import logging
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch
from cellpose import dynamics, resnet_torch
from cellpose.utils import fill_holes_and_remove_small_masks
from scipy import ndimage
from scipy.special import expit
from skimage import measure, segmentation
from torch import Tensor

from cellsieve.convolutions import contrast
from cellsieve.segmenters.interface import Outlined

FLOW = 5.0  # length of a flow as the network predicts it
_STEPS = 200  # of the dynamics
_FLOW_ERROR = 0.4  # of a nucleus whose outline fits the predicted flows
_SMALLEST = 15  # px² of a nucleus
_EDGE = 2  # px beyond a nucleus where its outline may still be drawn

# a tile without nuclei is nothing to report
logging.getLogger(dynamics.__name__).setLevel(logging.ERROR)


class Variant(NamedTuple):
    """A network of Cellpose 3 and what it looks at.

    Attributes
    ----------
    widths : tuple of int
        Channels at stride 1, 2, 4 and 8.
    diameter : float
        Pixels of a typical nucleus.
    official : bool
        As Cellpose itself trains, so that its checkpoints can be used: it
        looks at intensities as they are, and at a *style*, the mean of the
        coarsest features over the whole picture, so that what it sees depends
        a little on where a tile ends. Ours look at the logarithm of
        intensities, since nuclei of one field may differ twentyfold, and at no
        style.
    """

    widths: tuple[int, ...]
    diameter: float
    official: bool


VARIANTS = {
    "standard": Variant((32, 64, 128, 256), 30.0, False),
    "narrow": Variant((16, 32, 64, 128), 30.0, False),  # four times as fast on a CPU
    "nuclei": Variant((32, 64, 128, 256), 17.0, True),
    "cyto3": Variant((32, 64, 128, 256), 30.0, True),
}


class CellposeNetwork(resnet_torch.CPnet):
    """The residual U-Net of Cellpose, for pictures of nuclei alone.

    Its weights have the names that Cellpose gives them.

    Parameters
    ----------
    variant : Variant

    References
    ----------
    Stringer et al., "Cellpose: a generalist algorithm for cellular
    segmentation", Nature Methods 18, 2021; Stringer & Pachitariu, "Cellpose3",
    Nature Methods 22, 2025.
    """

    def __init__(self, variant: Variant):
        super().__init__([2, *variant.widths], nout=3, sz=3, diam_mean=variant.diameter)
        self.style_on = variant.official

    def forward(self, pictures: Tensor) -> Tensor:
        """Predict.

        Parameters
        ----------
        pictures : Tensor, (B, 1, h, w)
            Sides are multiples of 8; a typical nucleus is about 1, background
            0. Cellpose puts the 1st and 99th percentile of a picture there:
            much the same, but the same for all of a field.

        Returns
        -------
        Tensor, (B, 3, h, w)
            Flow to the centre along rows and columns, 5 times a unit vector;
            logit of nucleus.
        """
        if not self.style_on:
            pictures = contrast(pictures)
        # the second channel would show nuclei to a network for whole cells
        return super().forward(torch.cat([pictures, torch.zeros_like(pictures)], 1))[0]

    def take(self, state: Mapping[str, Tensor]) -> None:
        """Take weights: all of them, or none.

        Parameters
        ----------
        state : mapping of str to Tensor
            Ours or those of a checkpoint of Cellpose 1 to 3, the first of which
            do not say their diameters.

        Raises
        ------
        ValueError
            Naming the first weight that does not fit.
        """
        own = self.state_dict()
        diameters = {n: own[n] for n in ("diam_mean", "diam_labels")}
        state = {**diameters, **state}
        faults = [f"there is no {n}" for n in own if n not in state]
        faults += [f"unknown {n}" for n in state if n not in own]
        faults += [
            f"{n} is {tuple(v.shape)} instead of {tuple(own[n].shape)}"
            for n, v in state.items()
            if n in own and v.shape != own[n].shape
        ]
        if faults:
            raise ValueError(f"{faults[0]} (the first of {len(faults)} differences)")
        self.load_state_dict(state)


class CellposeSegmenter:
    """`CellposeNetwork` as a `cellsieve.segmenters.interface.Segmenter`.

    Parameters
    ----------
    state : mapping of str to Tensor
    notes : mapping of str to str
        ``variant``, a name in `VARIANTS`, and ``diameter``, px.
    name, device : str
    """

    engine = "cellpose"
    side = 768
    halo = 128
    step = 8

    def __init__(
        self, state: Mapping[str, Tensor], notes: Mapping[str, str], name: str, device: str
    ):
        network = CellposeNetwork(VARIANTS[notes["variant"]])
        network.take(state)
        self.network = network.eval().to(device, memory_format=torch.channels_last)
        self.diameter = float(notes["diameter"])
        self.name = name
        self.device = device

    def segment(self, picture: np.ndarray, rows: np.ndarray, cols: np.ndarray) -> Outlined:
        """Outline the nuclei of a picture, see `Segmenter`."""
        flows, logit = self.predict(picture)
        labels = gather(flows, logit)
        return Outlined(draw(labels, logit, rows, cols), confidence(labels, logit))

    @torch.inference_mode()
    def predict(self, picture: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the flows, (2, a, b), and the logit of nucleus, (a, b), float32.

        What is not a number in the picture counts as background.
        """
        known = np.where(np.isfinite(picture), picture, 0).astype(np.float32)
        batch = torch.from_numpy(known)[None, None]
        batch = batch.to(self.device, memory_format=torch.channels_last)
        with torch.autocast(self.device, dtype=torch.bfloat16):
            maps = self.network(batch)[0].float().cpu().numpy()
        return maps[:2], maps[2]


def gather(flows: np.ndarray, logit: np.ndarray) -> np.ndarray:
    """Let pixels follow the flows; those that end in one place are a nucleus.

    Parameters
    ----------
    flows : ndarray, (2, h, w), float32
        Along rows and columns, 5 times a unit vector.
    logit : ndarray, (h, w), float32
        Above 0 is nucleus.

    Returns
    -------
    ndarray, (h, w), int32
        Nuclei of one piece without holes, numbered from 1; 0 = background.

    Notes
    -----
    By Cellpose's own dynamics with its own settings, but for nuclei that cover
    much of a picture, which Cellpose drops. Always on the CPU: on a GPU
    Cellpose looks up to half a pixel beside, depending on the place in the
    picture.
    """
    # PyTorch warns when it is not told
    with torch.sparse.check_sparse_tensor_invariants(False):
        masks = dynamics.compute_masks(
            flows, logit, niter=_STEPS, flow_threshold=_FLOW_ERROR, max_size_fraction=1.0
        )
    whole = _largest_pieces(masks.astype(np.uint32))
    return fill_holes_and_remove_small_masks(whole, _SMALLEST).astype(np.int32)


def _largest_pieces(labels: np.ndarray) -> np.ndarray:
    pieces = measure.label(labels, connectivity=1)
    size = np.bincount(pieces.ravel())
    owner = np.zeros(len(size), np.int64)
    owner[pieces.ravel()] = labels.ravel()
    ascending = np.argsort(size, kind="stable")
    largest = np.zeros(labels.max() + 1, np.int64)
    largest[owner[ascending]] = ascending  # the last one stays
    return np.where(pieces == largest[labels], labels, 0)


def confidence(labels: np.ndarray, logit: np.ndarray) -> np.ndarray:
    """Return the mean chance of nucleus over each label, (n + 1,) float32; 0 for background."""
    chance = np.bincount(labels.ravel(), expit(logit).ravel())
    chance /= np.maximum(np.bincount(labels.ravel()), 1)
    chance[0] = 0
    return chance.astype(np.float32)


def draw(labels: np.ndarray, logit: np.ndarray, rows: np.ndarray, cols: np.ndarray) -> np.ndarray:
    """Draw nuclei at another resolution, with outlines where the logit is 0.

    Parameters
    ----------
    labels : ndarray, (a, b), int32
    logit : ndarray, (a, b), float32
    rows, cols : ndarray, (h,) and (w,), float64
        See `Segmenter.segment`.

    Returns
    -------
    ndarray, (h, w), int32
    """
    # holes were filled, and some nuclei were dropped: the logit must agree
    edge = np.where(labels > 0, np.maximum(logit, 1e-3), np.minimum(logit, -1e-3))
    at = np.meshgrid(rows - 0.5, cols - 0.5, indexing="ij")
    inside = ndimage.map_coordinates(edge, at, order=1, mode="nearest") > 0
    near = segmentation.expand_labels(labels, _EDGE)
    nearest = [
        np.clip(np.floor(x).astype(int), 0, n - 1)
        for x, n in zip((rows, cols), labels.shape, strict=True)
    ]
    return np.where(inside, near[np.ix_(*nearest)], 0).astype(np.int32)
