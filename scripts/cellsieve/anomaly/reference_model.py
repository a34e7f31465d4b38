"""Build, write and read the reference model of a run."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from skimage.transform import resize
from tqdm import tqdm

from cellsieve.anomaly.describing import Describer, describe_field
from cellsieve.anomaly.nucleus_features import CAUSES
from cellsieve.anomaly.reference import (
    SMALLEST_BANK,
    Bank,
    feature_columns,
    prepare_bank,
    split_reference,
    trim,
)
from cellsieve.anomaly.reference_files import RECORD, files_of, unusable
from cellsieve.anomaly.reference_nuclei import Scale, choose_nuclei, reference_scale, zoom_factor
from cellsieve.anomaly.signs import Signs, fit_signs
from cellsieve.choices import OUTLIER_EXPOSURE, SIGNS
from cellsieve.errors import UserError
from cellsieve.files import atomic, write_json
from cellsieve.objects import bounding_boxes
from cellsieve.provenance import file_sha256
from cellsieve.stores import create_zip, open_labels, open_zip

THUMBNAIL = 64  # pixels
_THUMBNAIL_DIAMETERS = 2.0
_BRIGHTEST = 2.5  # of the field's typical nucleus is shown white
_NO_NUCLEI = pd.DataFrame(
    {name: pd.Series(dtype=str) for name in ("id", "field", "slide")}
    | {"cell": pd.Series(dtype=np.int64)}
)
_NO_SCORES = pd.DataFrame({"id": pd.Series(dtype=str), "score": pd.Series(dtype=float)})


class ReferenceModel(NamedTuple):
    """What a run knows of normal nuclei.

    Attributes
    ----------
    bank : DataFrame
        Columns ``id, field, slide, cell, f_*``, ``specks`` and, of a network, ``e_*`` or
        ``outlier``, one row a nucleus.
    calibration : DataFrame
        ``id, f_*, score`` of reference nuclei that the bank does not hold; before it is
        written, with all that is known of them.
    scale : Scale
        Of the reference.
    split_by : str or None
        What bank and calibration do not share.
    notes : list of str
    signs : Signs or None
        What was learned from the bank; without it distance counts.
    network : Path or None
        Weights of the network that described the bank.
    windows : DataFrame or None
        Of the bank's fields, where the network looks at surroundings.
    images : dict of str to tuple of str
        SHA-256 of the image and of the nuclei of each reference field.
    """

    bank: pd.DataFrame
    calibration: pd.DataFrame
    scale: Scale
    split_by: str | None
    notes: list[str]
    signs: Signs | None = None
    network: Path | None = None
    windows: pd.DataFrame | None = None
    images: Mapping[str, tuple[str, str]] = MappingProxyType({})

    def image_name(self, field: str, image_sha256: str) -> str:
        """Return what the model calls an image, however its nuclei were outlined."""
        same = [name for name, known in self.images.items() if known[0] == image_sha256]
        return [*same, self.name(field, image_sha256, "")][0]

    def name(self, field: str, image_sha256: str, nuclei_sha256: str) -> str:
        """Return what the model calls a field; no field of another run passes for one of its own.

        Parameters
        ----------
        field : str
            What the run calls it.
        image_sha256, nuclei_sha256 : str
            Of its image and its label image: segmented anew it is another one.
        """
        digests = image_sha256, nuclei_sha256
        if self.images.get(field) == digests:
            return field
        same = [name for name, known in self.images.items() if known == digests]
        return [*same, f"{field} of another run" if field in self.images else field][0]


def build(
    rows: Sequence[dict[str, Any]],
    seed: int,
    trimmed: bool,
    method: str = SIGNS,
    network: Describer | None = None,
    localised: bool = False,
) -> ReferenceModel:
    """Describe the reference nuclei and divide them in bank and calibration.

    Parameters
    ----------
    rows : sequence of dict
        Fields: ``field, slide, dapi, nuclei, measurements, reference_nuclei`` (a
        path, or empty: all nuclei are reference) and ``quality``, the field's
        qc.json. Only whole nuclei that overlap no other are learned from.
    seed : int
    trimmed : bool
        The nuclei are a slide's own, not known to be normal: drop extremes,
        calibrate nothing.
    method : str
        ``outlier_exposure`` and ``signs`` learn what abnormal nuclei would be; otherwise
        distance counts.
    network : cellsieve.anomaly.describing.Describer, optional
    localised : bool
        Surroundings are what the network, one that was fitted, sees in windows, not the
        brightest speck.
    """
    usable = [row for row in rows if row["quality"]["diameter_px"]]
    scale = reference_scale(usable)
    described = [
        _describe(row, scale, network)
        for row in tqdm(usable, desc="reference", unit="field", disable=None)
    ]
    described = [table for table in described if len(table)]
    table = pd.concat(described, ignore_index=True) if described else _NO_NUCLEI
    bank, rest, split_by, notes = _divide(table, seed, trimmed)
    windows = None
    if localised and len(bank):
        bank, rest, windows = _localised(usable, scale, network, bank, rest)
        if windows.empty:
            notes.append("too few windows of reference nuclei alone to localise: specks count")
    if len(bank):
        bank, lost = prepare_bank(bank)
        notes += lost
    normal = bank[feature_columns(bank, "f_")]
    learns = method in (OUTLIER_EXPOSURE, SIGNS) and len(bank)
    signs = fit_signs(normal, CAUSES) if learns else None
    calibration = _NO_SCORES
    if len(rest):
        calibration = rest.assign(score=Bank(bank, signs).score(rest).score)
    unknown = sum(not row["quality"]["pixel_size_um"] for row in usable)
    if 0 < unknown < len(usable):
        share = f"{unknown} of {len(usable)}"
        notes.append(f"{share} reference fields have no pixel size: sizes are in pixels")
    return ReferenceModel(bank, calibration, scale, split_by, notes, signs, windows=windows)


def _localised(
    rows: Sequence[dict[str, Any]], scale: Scale, network: Any, *parts: pd.DataFrame
) -> tuple[pd.DataFrame, ...]:
    """Return bank and calibration with what windows say of surroundings, and the bank's windows.

    Without anything of that where a nucleus has no window with neighbours.
    """
    from cellsieve.anomaly.reference_windows import NO_WINDOWS, describe_reference, localise_nuclei
    from cellsieve.anomaly_networks.localisation import Localiser

    learned = [row for row in rows if row["field"] in set(parts[0]["field"])]
    windows = describe_reference(learned, scale, network)
    localiser = Localiser(network, windows)
    looked = [localise_nuclei(rows, scale, localiser, part) for part in parts]
    known = all(part["localised"].notna().all() for part in looked if len(part))
    return (*looked, windows) if known else (*parts, NO_WINDOWS)


def _divide(
    table: pd.DataFrame, seed: int, trimmed: bool
) -> tuple[pd.DataFrame, pd.DataFrame, str | None, list[str]]:
    """Return bank, nuclei that calibrate it, what the two do not share, and notes."""
    nothing = table.iloc[:0]
    if len(table) < 2 * SMALLEST_BANK:
        note = f"{len(table)} reference nuclei; at least {2 * SMALLEST_BANK} are needed to score"
        return nothing, nothing, None, [note]
    if trimmed:
        note = "no reference: scores are relative to the slide itself, without p and q"
        return trim(table), nothing, None, [note]
    split = split_reference(table, seed)
    bank, rest = table[split.in_bank], table[~split.in_bank]
    shared = "bank and calibration share a field (no other has enough nuclei): p may be too small"
    return bank, rest, split.by, [shared] if split.by == "nucleus" else []


def write_model(
    model: ReferenceModel,
    bank: str,
    calibration: str,
    thumbnails: str,
    signs: str,
    windows: str | None,
    rows: Sequence[dict[str, Any]],
) -> None:
    """Write the model's tables, and a picture of every nucleus in its bank.

    Parameters
    ----------
    model : ReferenceModel
    bank, calibration, thumbnails, signs, windows : path-like
        Outputs; the last one only where surroundings are looked at by windows.
    rows : sequence of dict
        As for `build`; the pictures are cut from their fields.
    """
    # no more of them is needed to calibrate, and to see whether a field is alike
    known = ["id", *feature_columns(model.calibration, "f_"), "score"]
    tables = {bank: model.bank, calibration: model.calibration[known]}
    if windows:
        tables[windows] = _NO_NUCLEI[["field"]] if model.windows is None else model.windows
    for path, table in tables.items():
        with atomic(path) as part:
            table.reset_index(drop=True).to_parquet(part, index=False)
    learned = model.signs and {name: v.tolist() for name, v in model.signs._asdict().items()}
    write_json(signs, learned)
    ids, pictures = [], []
    if len(model.bank):
        for row in rows:
            chosen = model.bank[model.bank["field"] == row["field"]]
            if len(chosen):
                zoom = zoom_factor(row["quality"]["pixel_size_um"], model.scale.pixel_size_um)
                cells = chosen["cell"].to_numpy()
                pictures.append(_thumbnails(row, cells, model.scale.diameter / zoom))
                ids += list(chosen["id"])
    stack = np.concatenate(pictures) if pictures else np.zeros((0, THUMBNAIL, THUMBNAIL), np.uint8)
    with create_zip(thumbnails) as store:
        # one chunk holds some hundred pictures; an array may not have an empty chunk
        chunks = (min(256, max(1, len(stack))), THUMBNAIL, THUMBNAIL)
        store.create_array("thumbnails", shape=stack.shape, dtype="uint8", chunks=chunks)[:] = stack
        store.attrs["ids"] = ids


def load_model(folder: Path | str) -> ReferenceModel:
    """Read a model folder and check its files against the record.

    Raises
    ------
    UserError
        When a file is missing or is not the one that the record names, or the
        model is of another format or modality.
    """
    folder = Path(folder)
    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        if fault := unusable(record):
            raise UserError(f"{folder}: {fault}")
        present = {name: folder / file for name, file in files_of(record).items()}
        for name, file in present.items():
            if file_sha256(file) != record["sha256"][name]:
                raise UserError(f"{file} is not the file that record.json names")
        return ReferenceModel(
            pd.read_parquet(present["bank"]),
            pd.read_parquet(present["calibration"]),
            Scale(record["diameter_px"], record["pixel_size_um"]),
            record["split_by"],
            record["notes"],
            _read_signs(present["signs"]),
            present.get("network"),
            pd.read_parquet(present["windows"]) if "windows" in present else None,
            {f["field"]: (f["image_sha256"], f["nuclei_sha256"]) for f in record["fields"]},
        )
    except FileNotFoundError as error:
        raise UserError(f"{folder} is not a reference model: no {error.filename}") from error
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise UserError(f"{folder}/record.json is not the record of a reference model") from error


def _read_signs(path: Path) -> Signs | None:
    learned = json.loads(path.read_text(encoding="utf-8"))
    return learned and Signs(**{name: np.array(values) for name, values in learned.items()})


def _describe(row: dict[str, Any], scale: Scale, network: Describer | None) -> pd.DataFrame:
    with open_zip(row["dapi"]) as store, open_labels(row["nuclei"]) as nuclei:
        table = describe_field(store["dapi"], nuclei, row["field"], row["quality"], scale, network)
    table.insert(2, "slide", row["slide"])
    return table[table["cell"].isin(choose_nuclei(row, pd.Index(table["cell"])))]


def _thumbnails(row: dict[str, Any], cells: np.ndarray, diameter: float) -> np.ndarray:
    """Cut square pictures of nuclei, two typical diameters wide, at one brightness a field."""
    half = max(2, round(_THUMBNAIL_DIAMETERS * diameter / 2))
    white = _BRIGHTEST * max(row["quality"]["nuclear_intensity"] or 0, 1e-9)
    with open_zip(row["dapi"]) as store, open_labels(row["nuclei"]) as nuclei:
        boxes = bounding_boxes(nuclei).loc[cells]
        return np.stack([_thumbnail(store["dapi"], box, half, white) for box in boxes.to_numpy()])


def _thumbnail(dapi: Any, box: np.ndarray, half: int, white: float) -> np.ndarray:
    y, x = (box[0] + box[2]) // 2, (box[1] + box[3]) // 2
    square = np.zeros((2 * half, 2 * half), np.float32)
    top, left = max(y - half, 0), max(x - half, 0)
    piece = np.asarray(dapi[top : y + half, left : x + half], np.float32)
    oy, ox = top - (y - half), left - (x - half)
    square[oy : oy + piece.shape[0], ox : ox + piece.shape[1]] = piece
    shown = resize(square, (THUMBNAIL, THUMBNAIL), order=1, anti_aliasing=False)
    return np.rint(np.clip(shown / white, 0, 1) * 255).astype(np.uint8)
