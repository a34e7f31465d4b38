"""Multi-level anomaly localisation (FMIC-AI): where in a window lies what makes it abnormal."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from pytorch_grad_cam import GradCAMPlusPlus
from skimage.segmentation import expand_labels
from skimage.transform import resize
from torch import Tensor, nn

from cellsieve.anomaly.reference import NEIGHBOURS, feature_columns
from cellsieve.anomaly.surroundings import REACH
from cellsieve.anomaly_networks.files import Network
from cellsieve.anomaly_networks.windows import CELL, WINDOW, Windows
from cellsieve.crops import DIAMETER, sampled_labels
from cellsieve.tiles import tiles

_TILE = 512  # pixels of a map that are shared out at once
_TINY = 1e-12  # squared distance below which a window is in the bank


class Localised(NamedTuple):
    """What windows say of a field.

    Attributes
    ----------
    heat : ndarray, (h, w), float32
        A pixel is `CELL` pixels of the view.
    scores : ndarray, (n,), float64
        Of the windows: sum of the squared distances to the two nearest of the reference; NaN
        without so many.
    """

    heat: np.ndarray
    scores: np.ndarray


class Localiser:
    """Finds what makes the windows of a field unlike those of the reference.

    Parameters
    ----------
    network : Network
    bank : DataFrame
        As `describe_windows` gives them, of reference fields.
    """

    def __init__(self, network: Network, bank: pd.DataFrame):
        self.network = network
        device = next(network.module.parameters()).device
        vectors = bank[feature_columns(bank, "e_")].to_numpy(np.float32)
        self.vectors = torch.from_numpy(vectors).to(device)
        self.places = {
            field: (part.index.to_numpy(), part[["y0", "x0"]].to_numpy())
            for field, part in bank.groupby("field", sort=False)
        }

    def look(self, windows: Windows, field: str) -> Localised:
        """Map what is unlike the reference in all windows of a field; where they overlap, the most.

        Windows of the bank that overlap a window are none of its neighbours.
        """
        shape = [-(-length // CELL) for length in windows.view.shape]
        heat, scores = np.zeros(shape, np.float32), np.full(len(windows.starts), np.nan)
        with RawGradCam(self.network) as cam:
            for number, start in enumerate(windows.starts):
                vectors = self._elsewhere(field, start)
                if len(vectors) < NEIGHBOURS:
                    continue
                target = _Nearest(vectors)
                plane = cam(torch.from_numpy(windows.cut(start))[None], [target])[0]
                scores[number] = target.score
                there = heat[tuple(slice(at // CELL, (at + WINDOW) // CELL) for at in start)]
                plane = target.score * plane[: there.shape[0], : there.shape[1]]
                np.maximum(there, plane, out=there)
        return Localised(heat, scores)

    def _elsewhere(self, field: str, start: Sequence[int]) -> Tensor:
        """Return the vectors of the bank's windows that do not overlap a window."""
        if field not in self.places:
            return self.vectors
        rows, starts = self.places[field]
        near = (np.abs(starts - start) < WINDOW).all(1)
        kept = np.ones(len(self.vectors), bool)
        kept[rows[near]] = False
        return self.vectors[torch.from_numpy(kept)]


class _Nearest:
    """Score of a window, its two nearest of the bank held fixed.

    The logarithm is what has gradients: a score in another unit gives the same map.
    """

    def __init__(self, vectors: Tensor):
        self.vectors = vectors
        self.score = np.nan

    def __call__(self, z: Tensor) -> Tensor:
        distance = ((self.vectors - z.detach()) ** 2).sum(1)
        nearest = self.vectors[distance.topk(NEIGHBOURS, largest=False).indices]
        score = ((z - nearest) ** 2).sum()
        self.score = score.item()
        return torch.log(score + _TINY)


class RawGradCam(GradCAMPlusPlus):
    """Grad-CAM++ of an embedding, as it is: nothing is stretched to 0 and 1.

    Parameters
    ----------
    network : Network

    References
    ----------
    Chattopadhay et al., Grad-CAM++, WACV 2018, eq. 19.
    """

    def __init__(self, network: Network):
        backbone = network.module.backbone
        model = _Embedding(network)
        # gradients are followed no further than the layer that is looked at
        model.requires_grad_(False)
        layer = backbone.last_layer.requires_grad_(True)
        self.backbone, self.seen = backbone, (0, 0)
        super().__init__(model, [layer], self._plane if backbone.tokens else None)

    def forward(
        self, crops: Tensor, targets: Sequence[Callable[[Tensor], Tensor]], *_: Any
    ) -> np.ndarray:
        """Return the maps of windows, (b, h / CELL, w / CELL), each of its own target."""
        self.seen = tuple(crops.shape[-2:])
        return super().forward(crops, list(targets))

    def __exit__(self, *_: Any) -> None:
        """Let go of the layer; an error stays one, where the library drops some."""
        self.activations_and_grads.release()

    def _plane(self, tokens: Tensor) -> Tensor:
        return self.backbone.unrolled(tokens, self.seen)

    def get_cam_weights(self, *args: Any) -> np.ndarray:
        """Weigh the channels by eq. 19; activations that sum to less than 0 count as 0 in it."""
        activations, gradients = args[-2:]
        total = np.maximum(activations.sum((2, 3), keepdims=True), 0)
        risen = np.maximum(gradients, 0)
        return (risen / (2 + total * risen)).sum((2, 3))

    def compute_cam_per_layer(self, crops: Tensor, targets: Any, _: bool) -> list[np.ndarray]:
        """Return the map of the one layer."""
        activations, gradients = (
            values[0].numpy()
            for values in (
                self.activations_and_grads.activations,
                self.activations_and_grads.gradients,
            )
        )
        planes = self.get_cam_image(crops, None, targets, activations, gradients)
        shape = [length // CELL for length in self.seen]
        return [np.stack([resize(np.maximum(plane, 0), shape, order=1) for plane in planes])]

    def aggregate_multi_layers(self, maps: list[np.ndarray]) -> np.ndarray:
        """Return the map of the one layer as it is."""
        return maps[0]


class _Embedding(nn.Module):
    """What a network makes of windows."""

    def __init__(self, network: Network):
        super().__init__()
        self.module, self.method = network.module, network.method

    def forward(self, crops: Tensor) -> Tensor:
        return self.method.embed(self.module, crops)


def describe_windows(network: Network, windows: Windows, field: str) -> pd.DataFrame:
    """Describe the windows of a reference field.

    Returns
    -------
    DataFrame
        ``field, y0, x0`` (in pixels of the view) and ``e_*``.
    """
    vectors = pd.concat([network.describe(windows.cut(start)[None]) for start in windows.starts])
    vectors = vectors.reset_index(drop=True)
    places = pd.DataFrame(windows.starts, columns=["y0", "x0"])
    return pd.concat([places, vectors], axis=1).assign(field=field)


def tell(seen: Localised, windows: Windows, boxes: pd.DataFrame) -> pd.DataFrame:
    """Say of each nucleus what the windows show of it.

    Parameters
    ----------
    seen : Localised
    windows : Windows
    boxes : DataFrame
        Of all nuclei, indexed by label.

    Returns
    -------
    DataFrame
        ``localised``, the map's integral over the nucleus and what is nearest to it, and
        ``window``, the highest score of the windows that hold its middle; indexed by label.
        NaN where no window has neighbours.
    """
    middle = boxes[["y0", "x0"]].to_numpy() + boxes[["y1", "x1"]].to_numpy()
    table = pd.DataFrame({"window": windows.highest(seen.scores, middle / 2)}, boxes.index)
    localised = integrate(seen.heat, windows, boxes.index)
    return table.assign(localised=localised.where(table["window"].notna()))


def integrate(heat: np.ndarray, windows: Windows, cells: pd.Index) -> pd.Series:
    """Sum a map over each nucleus dilated by half a diameter, less its neighbours'.

    Parameters
    ----------
    heat : ndarray, (h, w)
    windows : Windows
    cells : Index of int
        All labels of the field, ascending.
    """
    sums = np.zeros(len(cells) + 1)
    numbered = np.append(0, cells)
    reach = int(REACH * DIAMETER / CELL)
    for tile in tiles(heat.shape, _TILE, reach):
        region = tuple(slice(CELL * part.start, CELL * part.stop) for part in tile.padded)
        labels = sampled_labels(windows.nuclei, region, windows.view.scale, CELL)
        claims = expand_labels(np.searchsorted(numbered, labels), reach)[tile.core_in_padded]
        sums += np.bincount(claims.ravel(), heat[tile.core].ravel(), len(sums))
    return pd.Series(sums[1:] * (CELL / DIAMETER) ** 2, cells)
