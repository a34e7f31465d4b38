"""First outlines from Cellpose instead of a promptable model: of each candidate its nucleus."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import ndimage
from tqdm import tqdm

from cellsieve.devices import choose_device
from cellsieve.errors import UserError
from cellsieve.network_segmentation import View, tile_and_halo
from cellsieve.provenance import file_sha256
from cellsieve.pseudo_labelling.mask_table import BOX, draw
from cellsieve.pseudo_labelling.prompted import SAM_MASKS, as_mask_table
from cellsieve.pseudo_labelling.run_length import encode
from cellsieve.rescaled import Rescaled
from cellsieve.segmenters.interface import Outlined, Segmenter
from cellsieve.tiles import Tile, tiles
from cellsieve.weights import read_catalogue, verified

ADDRESS = "https://www.cellpose.org/models/nucleitorch_0"
_NUCLEI = "nucleitorch_"  # how the files of Cellpose's model `nuclei` are called


def find_checkpoint(model: str, folder: Path | str) -> Path:
    """Return the file of a Cellpose model.

    Parameters
    ----------
    model : str
        Path of a checkpoint, or a name of the catalogue of weights.
    folder : path-like
        Where downloaded weights lie.

    Raises
    ------
    UserError
        If there is none, saying which one to get from where.
    """
    if model in read_catalogue() or Path(model).expanduser().is_file():
        return verified(model, folder)
    raise UserError(
        f"Cellpose model {model!r}: no such file; download {ADDRESS} (or .../cyto3), for which"
        " cellsieve has no checksum, and give the path where it lies"
    )


def load_cellpose(path: Path, device: str) -> Segmenter:
    """Load a Cellpose network.

    Parameters
    ----------
    path : Path
        A checkpoint of Cellpose 1 to 3, or a ``.safetensors`` file of our own
        training.
    device : str
        ``cpu``, ``cuda``, or ``auto``: cuda where there is one.

    Raises
    ------
    UserError
        If there is no such device, or the file holds something else.

    Notes
    -----
    As in Cellpose itself, its model ``nuclei`` wants nuclei of 17 px; every
    other checkpoint says its diameter.
    """
    device = choose_device(device)

    from cellsieve.segmenters import load_segmenter
    from cellsieve.segmenters.cellpose import VARIANTS, CellposeSegmenter
    from cellsieve.state_dicts import load_state_dict

    if path.suffix == ".safetensors":
        return load_segmenter(path, device, "cellpose")
    state = load_state_dict(path)
    variant = "nuclei" if path.name.startswith(_NUCLEI) else "cyto3"
    diameter = VARIANTS[variant].diameter
    if variant != "nuclei" and "diam_mean" in state:
        diameter = float(state["diam_mean"])
    notes = {"variant": variant, "diameter": str(diameter)}
    try:
        return CellposeSegmenter(state, notes, f"{path.name}@{file_sha256(path)}", device)
    except ValueError as error:
        raise UserError(f"{path}: not a checkpoint of Cellpose 3: {error}") from error


def outline_field(
    dapi: Any,
    candidates: pd.DataFrame,
    segmenter: Segmenter,
    diameter: float | None,
    intensity: float | None,
    offset: tuple[int, int] = (0, 0),
) -> pd.DataFrame:
    """Give every kept candidate of a field the nucleus that a network outlines there.

    Parameters
    ----------
    dapi : array-like, (H, W)
        Background-subtracted counts.
    candidates : DataFrame
        ``prompts.parquet``, columns as in `cellsieve.pseudo_labelling.prompts`.
    segmenter : Segmenter
    diameter : float or None
        Typical nucleus diameter of the field in pixels; None when it has none.
    intensity : float or None
        Typical intensity of the field's nuclei, counts.
    offset : tuple of int
        Shift of the tiles in pixels; the nuclei do not depend on it.

    Returns
    -------
    DataFrame
        One row a kept candidate, in their order, columns as in
        `cellsieve.pseudo_labelling.prompted.SAM_MASKS`: the confidence in the nucleus as
        ``predicted_iou``; no ``stability``, which only answers to prompts
        have. A candidate whose coarse outline is mostly background to the
        network has area 0 and an empty mask in the same box.

    Notes
    -----
    A candidate is answered in the tile whose core holds its point; tiles
    without candidates are never looked at.
    """
    table = candidates[candidates["kept"].to_numpy(bool)].reset_index(drop=True)
    if not diameter or not intensity or table.empty:
        return pd.DataFrame(columns=list(SAM_MASKS))
    scale = segmenter.diameter / diameter
    view = View(Rescaled(dapi, scale), intensity, segmenter.step)
    sizes = tile_and_halo(segmenter, scale)
    points = table[["y_px", "x_px"]].to_numpy()
    found: list[dict[str, Any]] = [{}] * len(table)
    for piece in tqdm(list(tiles(dapi.shape, *sizes, offset)), unit="tile", disable=None):
        low, high = ([getattr(s, end) for s in piece.core] for end in ("start", "stop"))
        rows = np.flatnonzero(((points >= low) & (points < high)).all(axis=1))
        if not len(rows):
            continue
        picture, places = view.picture(piece.padded)
        nuclei = segmenter.segment(picture, *places)
        boxes = ndimage.find_objects(nuclei.labels)
        for row in rows:
            found[row] = _answer(table.iloc[[row]], nuclei, boxes, piece)
    # only answers to prompts have a stability
    return as_mask_table(pd.DataFrame(found).assign(stability=np.nan), table)


def _answer(
    candidate: pd.DataFrame, nuclei: Outlined, boxes: list[tuple[slice, slice] | None], piece: Tile
) -> dict[str, Any]:
    """Row of the nucleus that covers more of a candidate's coarse outline than any other."""
    box = candidate[BOX].to_numpy()[0]
    region = tuple(
        slice(max(low, s.start), min(high, s.stop))
        for low, high, s in zip(box[:2], box[2:], piece.padded, strict=True)
    )
    coarse = draw(candidate, np.ones(1, int), region) > 0
    seen = nuclei.labels[Tile(region, piece.padded).core_in_padded]
    label = int(np.bincount(seen[coarse], minlength=1).argmax())
    if not label:
        return _row(box, np.zeros(box[2:] - box[:2], bool), 0.0)
    inside = boxes[label - 1]
    mask = nuclei.labels[inside] == label
    corner = np.array([i.start + s.start for i, s in zip(inside, piece.padded, strict=True)])
    return _row([*corner, *corner + mask.shape], mask, float(nuclei.confidence[label]))


def _row(box: Sequence[int], mask: np.ndarray, confidence: float) -> dict[str, Any]:
    return {
        **dict(zip(BOX, map(int, box), strict=True)),
        "mask": encode(mask),
        "area_px": np.count_nonzero(mask),
        "predicted_iou": confidence,
    }
