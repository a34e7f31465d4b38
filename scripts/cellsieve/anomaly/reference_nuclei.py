"""Which nuclei of a run are the reference, and the scale that all are seen in."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from cellsieve.anomaly.nucleus_features import Ruler
from cellsieve.errors import UserError
from cellsieve.tables import read_table
from cellsieve.tiles import sample_windows
from cellsieve.wholeness import judge_wholeness

_TINY = 1e-6


class Scale(NamedTuple):
    """In what nuclei are measured.

    Attributes
    ----------
    diameter : float or None
        Typical diameter of the reference, in its pixels; None without fields.
    pixel_size_um : float or None
        Of the reference; None when not all of its fields say theirs.
    """

    diameter: float | None
    pixel_size_um: float | None

    def ruler(self, quality: Mapping[str, Any]) -> Ruler:
        """Return the scale that the nuclei of a field, of this qc.json, are described in."""
        return Ruler(self.diameter, zoom_factor(quality["pixel_size_um"], self.pixel_size_um))


def reference_scale(rows: Sequence[dict[str, Any]]) -> Scale:
    """Return the median pixel size, if all fields say theirs, and diameter in such pixels.

    Parameters
    ----------
    rows : sequence of dict
        Fields with ``quality``, their qc.json.
    """
    if not rows:
        return Scale(None, None)
    sizes = [row["quality"]["pixel_size_um"] for row in rows]
    typical = float(np.median(sizes)) if all(sizes) else None
    diameters = [
        row["quality"]["diameter_px"] * zoom_factor(size, typical)
        for row, size in zip(rows, sizes, strict=True)
    ]
    return Scale(float(np.median(diameters)), typical)


def typical_intensity(quality: Mapping[str, Any], dapi: Any, nuclei: Any) -> float:
    """Return the counts of a typical nucleus of a field, of this qc.json; never 0.

    Given nuclei may be where the survey saw none: then the median of their pixels, in
    windows over the field.
    """
    if quality["nuclear_intensity"]:
        return quality["nuclear_intensity"]
    windows = sample_windows(dapi)
    inside = [np.asarray(dapi[w])[np.asarray(nuclei[w]) > 0] for w in windows]
    return max(float(np.median(np.concatenate([*inside, [0.0]]))), _TINY)


def zoom_factor(field_um: float | None, reference_um: float | None) -> float:
    """Reference pixels per field pixel; 1 unless both pixel sizes are known."""
    return field_um / reference_um if field_um and reference_um else 1.0


def choose_nuclei(row: dict[str, Any], cells: pd.Index) -> np.ndarray:
    """Return the labels of a field's nuclei that are whole, alone, no fragments and reference.

    Parameters
    ----------
    row : dict
        ``field, measurements, reference_nuclei`` (a path, or empty: all nuclei).
    cells : Index of int
        All labels of the field.

    Raises
    ------
    UserError
        When the field lacks a nucleus of the list.
    """
    table = read_table(row["measurements"])
    sound = table["cell"][judge_wholeness(table).whole]
    if not row.get("reference_nuclei"):
        return np.intersect1d(sound, cells)
    listed = read_label_list(row["reference_nuclei"])
    if absent := sorted(set(listed) - set(cells)):
        raise UserError(
            f"{row['reference_nuclei']}: field {row['field']} has no nucleus {absent[0]}"
            f" ({len(absent)} of {len(listed)} labels are not in it)"
        )
    return np.intersect1d(sound, listed)


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
