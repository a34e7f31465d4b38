"""One table for a run out of what its fields and slides hold."""

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from cellsieve.calling.intervals import rate
from cellsieve.calling.slide_summary import COUNTED
from cellsieve.errors import UserError
from cellsieve.fish.false_cacs import ErrorRate, expected, flag
from cellsieve.tables import read_notes

STATUSES = ("ok", "flagged", "empty", "rejected")
_QUALITY = ("pixel_size_um", "diameter_px", "focus", "saturated_fraction")


def join_tables(paths: Sequence[Path | str], target: Path) -> int:
    """Append CSV tables with one header to each other, without reading them whole.

    Parameters
    ----------
    paths : sequence of path-like
        At least one; each with a header line.
    target : Path
        Written; make it atomic outside.

    Returns
    -------
    int
        Bytes of the rows that were written.

    Raises
    ------
    UserError
        When the headers differ.
    """
    with target.open("wb") as out:
        first = None
        for path in paths:
            with Path(path).open("rb") as table:
                header = table.readline()
                if first is None:
                    first = header
                    out.write(header)
                if header != first:
                    raise UserError(f"{path} has other columns than {paths[0]}; make them again")
                shutil.copyfileobj(table, out, 1 << 20)
        return out.tell() - len(first or b"")


def fields_table(rows: Sequence[Mapping[str, str]]) -> pd.DataFrame:
    """One row a row of the sheet, whatever became of the field.

    Parameters
    ----------
    rows : sequence of mapping
        Of the manifest: ``field, slide, patient, qc, anomaly, slide_summary`` and any
        ``x_*``.

    Returns
    -------
    DataFrame
        ``field, slide, patient, status, reason, nuclei, assessable,
        assessable_fish, assessable_cac, suspicious, cac, height_px, width_px, pixel_size_um,
        diameter_px, focus, saturated_fraction`` and the ``x_*`` columns. The
        counts of a rejected field are missing, those of an empty one 0.
    """
    summaries = {path: _json(path) for path in {row["slide_summary"] for row in rows}}
    table = pd.DataFrame([_field(row, summaries[row["slide_summary"]]) for row in rows])
    return table.astype(dict.fromkeys([*COUNTED, "height_px", "width_px"], "Int64"))


def totals_table(
    fields: pd.DataFrame,
    by: str,
    volumes: Mapping[str, float],
    errors: ErrorRate | None,
    min_cac: int,
    min_assessable: int,
) -> pd.DataFrame:
    """Sum fields up to slides or patients.

    Parameters
    ----------
    fields : DataFrame
        What `fields_table` returned.
    by : {"slide", "patient"}
        Rows where it is empty are left out.

    volumes : mapping of str to float
        µl of blood on each slide whose volume is known.
    errors : ErrorRate or None
        Of false CACs.
    min_cac, min_assessable : int
        See `cellsieve.fish.false_cacs.flag`.

    Returns
    -------
    DataFrame
        In the order of the sheet: the name, ``patient`` for slides, numbers of
        fields by status, the counts, the rates of suspicious nuclei and CACs
        with their 95 % intervals, ``volume_ul`` and ``cac_per_100ul`` (empty
        unless the volumes of all slides are known), the false CACs to expect,
        and for patients ``cac_p`` and ``flag``.
    """
    named = fields[fields[by] != ""]
    rows = [
        _total(name, part, by) | _cacs(part, by, volumes, errors, min_cac, min_assessable)
        for name, part in [*named.groupby(by, sort=False), ("", fields.iloc[:0])]
    ]
    return pd.DataFrame(rows[:-1], columns=list(rows[-1]))


def slide_volumes(rows: Sequence[Mapping[str, str]]) -> dict[str, float]:
    """Volume of blood in µl of each slide that has one in the sheet.

    Parameters
    ----------
    rows : sequence of mapping
        Of the manifest: ``slide, volume_ul``; the rows of a slide agree.
    """
    return {row["slide"]: float(row["volume_ul"]) for row in rows if row["volume_ul"]}


def _cacs(
    part: pd.DataFrame,
    by: str,
    volumes: Mapping[str, float],
    errors: ErrorRate | None,
    min_cac: int,
    min_assessable: int,
) -> dict[str, Any]:
    """CACs in relation to the blood they were found in and to the false ones to expect."""
    cac, assessable = int(part["cac"].sum()), int(part["assessable_cac"].sum())
    slides = part["slide"].unique()
    known = len(slides) and all(slide in volumes for slide in slides)
    volume = sum(volumes[slide] for slide in slides) if known else None
    row = {
        "volume_ul": volume,
        "cac_per_100ul": 100 * cac / volume if volume else None,
        **expected(assessable, errors),
    }
    if by == "patient":
        row |= flag(cac, assessable, errors, min_cac, min_assessable)
    return row


def _total(name: str, part: pd.DataFrame, by: str) -> dict[str, Any]:
    totals = {column: int(part[column].sum()) for column in COUNTED}
    row: dict[str, Any] = {by: name}
    if by == "slide":
        row["patient"] = ", ".join(p for p in part["patient"].unique() if p)
    else:
        row["slides"] = part["slide"].nunique()
    row["fields"] = len(part)
    row |= {f"fields_{s}": int((part["status"] == s).sum()) for s in STATUSES}
    row |= totals
    for what, among in (("suspicious", "assessable"), ("cac", "assessable_cac")):
        of = rate(totals[what], totals[among])
        row |= {
            f"{what}_rate": of["rate"],
            f"{what}_rate_low": of["low"],
            f"{what}_rate_high": of["high"],
        }
    return row


def _field(row: Mapping[str, str], summary: Mapping[str, Any]) -> dict[str, Any]:
    qc = _json(row["qc"])
    counts = summary["fields"].get(row["field"], {})
    rejected = qc["status"] == "rejected"
    empty = not rejected and not counts.get("nuclei")
    faults = read_notes(row["anomaly"])
    reasons = [*qc["reasons"], *faults]
    if empty and not reasons:
        reasons = ["no nuclei"]
    # labels that the sheet gives may lie where the survey saw nothing
    doubtful = qc["status"] == "empty" or (faults and qc["status"] == "ok")
    status = "flagged" if doubtful else qc["status"]
    height, width = qc["shape"] or (None, None)
    return {
        **{name: row[name] for name in ("field", "slide", "patient")},
        "status": "empty" if empty else status,
        "reason": "; ".join(reasons),
        **{name: None if rejected else counts.get(name) for name in COUNTED},
        "height_px": height,
        "width_px": width,
        **{name: qc[name] for name in _QUALITY},
        **{name: value for name, value in row.items() if name.startswith("x_")},
    }


def _json(path: str) -> dict[str, Any]:
    return json.loads(Path(path).read_text(encoding="utf-8"))
