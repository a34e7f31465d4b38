"""Build, write and read the reference model of a run."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from skimage.transform import resize
from tqdm import tqdm

from cellsieve.errors import UserError
from cellsieve.files import atomic
from cellsieve.nucleus_features import Ruler, nucleus_features
from cellsieve.objects import bounding_boxes
from cellsieve.provenance import file_sha256
from cellsieve.reference import SMALLEST_BANK, Bank, split_reference, trim
from cellsieve.stores import create_zip, open_labels, open_zip
from cellsieve.surroundings import brightest_specks
from cellsieve.tables import read_table
from cellsieve.wholeness import judge_wholeness

FORMAT = 3  # of what bank and calibration hold; models of another one are refused
THUMBNAIL = 64  # pixels
_THUMBNAIL_DIAMETERS = 2.0
_BRIGHTEST = 2.5  # of the field's typical nucleus is shown white
_FILES = {
    "bank": "bank.parquet",
    "calibration": "calibration.parquet",
    "thumbnails": "thumbnails.zarr.zip",
}
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
        Columns ``id, field, slide, cell, f_*`` and ``speck``, one row a nucleus.
    calibration : DataFrame
        The same columns and ``score``, of reference nuclei that the bank does not hold.
    diameter : float or None
        Typical diameter in pixels of the reference.
    pixel_size_um : float or None
        Of the reference; None when not all of its fields say theirs.
    split_by : str or None
        What bank and calibration do not share.
    notes : list of str
    """

    bank: pd.DataFrame
    calibration: pd.DataFrame
    diameter: float | None
    pixel_size_um: float | None
    split_by: str | None
    notes: list[str]


def build(rows: Sequence[dict[str, Any]], seed: int, trimmed: bool) -> ReferenceModel:
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
    """
    usable = [row for row in rows if row["quality"]["diameter_px"]]
    diameter, pixel_size = _scale(usable)
    described = [
        _describe(row, diameter, pixel_size)
        for row in tqdm(usable, desc="reference", unit="field", disable=None)
    ]
    described = [table for table in described if len(table)]
    table = pd.concat(described, ignore_index=True) if described else _NO_NUCLEI
    bank, calibration, split_by, notes = _divide(table, seed, trimmed)
    unknown = sum(not row["quality"]["pixel_size_um"] for row in usable)
    if 0 < unknown < len(usable):
        share = f"{unknown} of {len(usable)}"
        notes.append(f"{share} reference fields have no pixel size: sizes are in pixels")
    return ReferenceModel(bank, calibration, diameter, pixel_size, split_by, notes)


def _divide(
    table: pd.DataFrame, seed: int, trimmed: bool
) -> tuple[pd.DataFrame, pd.DataFrame, str | None, list[str]]:
    """Return bank, calibration, what they do not share, and notes."""
    few, nothing = table.iloc[:0], _NO_SCORES
    if len(table) < 2 * SMALLEST_BANK:
        note = f"{len(table)} reference nuclei; at least {2 * SMALLEST_BANK} are needed to score"
        return few, nothing, None, [note]
    if trimmed:
        note = "no reference: scores are relative to the slide itself, without p and q"
        return trim(table), nothing, None, [note]
    split = split_reference(table, seed)
    bank, rest = table[split.in_bank], table[~split.in_bank]
    if min(len(bank), len(rest)) < SMALLEST_BANK:
        note = f"one half of the reference holds under {SMALLEST_BANK} nuclei: not scored"
        return few, nothing, None, [note]
    calibration = rest.assign(score=Bank(bank).score(rest).score)
    shared = "one reference field: bank and calibration share it, p may be too small"
    return bank, calibration, split.by, [shared] if split.by == "nucleus" else []


def describe_field(
    dapi: Any, nuclei: Any, field: str, diameter: float, zoom: float
) -> pd.DataFrame:
    """Describe all nuclei of a field in the reference's scale.

    Parameters
    ----------
    dapi, nuclei : array-like, (H, W)
        Background-subtracted counts; labels.
    field : str
    diameter : float
        Of the reference, in its pixels.
    zoom : float
        Reference pixels per pixel of the field.

    Returns
    -------
    DataFrame
        ``id, field, cell, f_*`` and ``speck``; no row when the field has no nucleus.
    """
    ruler, boxes = Ruler(diameter, zoom), bounding_boxes(nuclei)
    table = nucleus_features(dapi, nuclei, ruler, boxes)
    table["speck"] = brightest_specks(dapi, nuclei, ruler, boxes)
    table.insert(0, "cell", table.index)
    table.insert(0, "field", field)
    table.insert(0, "id", [f"{field}:{cell}" for cell in table["cell"]])
    return table.reset_index(drop=True)


def zoom_factor(field_um: float | None, reference_um: float | None) -> float:
    """Reference pixels per field pixel; 1 unless both pixel sizes are known."""
    return field_um / reference_um if field_um and reference_um else 1.0


def write_model(
    model: ReferenceModel,
    bank: str,
    calibration: str,
    thumbnails: str,
    rows: Sequence[dict[str, Any]],
) -> None:
    """Write the model's tables, and a picture of every nucleus in its bank.

    Parameters
    ----------
    model : ReferenceModel
    bank, calibration, thumbnails : path-like
        Outputs.
    rows : sequence of dict
        As for `build`; the pictures are cut from their fields.
    """
    for path, table in ((bank, model.bank), (calibration, model.calibration)):
        with atomic(path) as part:
            table.reset_index(drop=True).to_parquet(part, index=False)
    ids, pictures = [], []
    if len(model.bank):
        for row in rows:
            chosen = model.bank[model.bank["field"] == row["field"]]
            if len(chosen):
                zoom = zoom_factor(row["quality"]["pixel_size_um"], model.pixel_size_um)
                cells = chosen["cell"].to_numpy()
                pictures.append(_thumbnails(row, cells, model.diameter / zoom))
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
        model is of another format.
    """
    folder = Path(folder)
    try:
        record = json.loads((folder / "record.json").read_text(encoding="utf-8"))
        if record["format"] != FORMAT:
            raise UserError(
                f"{folder}: a reference model of format {record['format']}, but this cellsieve"
                f" reads {FORMAT}; learn it again from its reference fields"
            )
        for name, file in _FILES.items():
            if file_sha256(folder / file) != record["sha256"][name]:
                raise UserError(f"{folder}/{file} is not the file that record.json names")
        return ReferenceModel(
            pd.read_parquet(folder / _FILES["bank"]),
            pd.read_parquet(folder / _FILES["calibration"]),
            record["diameter_px"],
            record["pixel_size_um"],
            record["split_by"],
            record["notes"],
        )
    except FileNotFoundError as error:
        raise UserError(f"{folder} is not a reference model: no {error.filename}") from error
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise UserError(f"{folder}/record.json is not the record of a reference model") from error


def _scale(rows: Sequence[dict[str, Any]]) -> tuple[float | None, float | None]:
    """Median pixel size, if all fields say theirs, and median diameter in such pixels."""
    if not rows:
        return None, None
    sizes = [row["quality"]["pixel_size_um"] for row in rows]
    typical = float(np.median(sizes)) if all(sizes) else None
    diameters = [
        row["quality"]["diameter_px"] * zoom_factor(size, typical)
        for row, size in zip(rows, sizes, strict=True)
    ]
    return float(np.median(diameters)), typical


def _describe(row: dict[str, Any], diameter: float, pixel_size: float | None) -> pd.DataFrame:
    zoom = zoom_factor(row["quality"]["pixel_size_um"], pixel_size)
    with open_zip(row["dapi"]) as store, open_labels(row["nuclei"]) as nuclei:
        table = describe_field(store["dapi"], nuclei, row["field"], diameter, zoom)
    table.insert(2, "slide", row["slide"])
    wanted = _sound(row["measurements"])
    if row.get("reference_nuclei"):
        wanted = np.intersect1d(wanted, _listed(row, table["cell"]))
    return table[table["cell"].isin(wanted)]


def _listed(row: dict[str, Any], cells: pd.Series) -> list[int]:
    """Return the field's ``reference_nuclei``, all of which must be there."""
    labels = read_label_list(row["reference_nuclei"])
    if absent := sorted(set(labels) - set(cells)):
        raise UserError(
            f"{row['reference_nuclei']}: field {row['field']} has no nucleus {absent[0]}"
            f" ({len(absent)} of {len(labels)} labels are not in it)"
        )
    return labels


def _sound(measurements: Path | str) -> pd.Series:
    """Return the nuclei of a field that are whole, alone and no fragments."""
    table = read_table(measurements)
    return table["cell"][judge_wholeness(table).whole]


def read_label_list(path: Path | str) -> list[int]:
    """Read a sheet's ``reference_nuclei``: label numbers in the first column.

    Raises
    ------
    UserError
        When the file is missing or a line does not begin with a label number.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8-sig").splitlines()
    except FileNotFoundError as error:
        raise UserError(f"reference_nuclei: no such file: {path}") from error
    labels = []
    for number, line in enumerate(lines, 1):
        first = line.split("\t")[0].strip()
        if number == 1 and not first.isdecimal():
            continue  # a header
        if not first:
            continue
        if not first.isdecimal():
            raise UserError(f"{path}, row {number}: {first!r} is not a label number")
        labels.append(int(first))
    return labels


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
