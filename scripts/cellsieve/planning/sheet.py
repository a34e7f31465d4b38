"""The sheet of fields: read it as spreadsheets save it, refuse what is not clear."""

import csv
import difflib
import io
import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import jsonschema
import yaml

from cellsieve.errors import UserError

SCHEMA = Path(__file__).parents[3] / "workflow" / "schemas" / "fields.schema.yaml"
PATHS = ("image", "reference_nuclei", "nuclei", "truth", "boxes")
NAMES = ("field", "slide", "patient")
ROW = "_row"  # where the row is in the file; only while the sheet is being checked
_NUMBER = re.compile(r"[+-]?\d+([.,]\d+)?([eE][+-]?\d+)?")


class Sheet(NamedTuple):
    """A sheet that has passed every check.

    Attributes
    ----------
    rows : list of dict
        One a field, in the sheet's order. Every column of the design is
        there, None where the cell is empty, and the ``x_*`` columns of the
        sheet. ``train`` and ``reference`` are bool, numbers are float, paths
        are relative to where the sheet's own path is.
    warnings : list of str
        What is allowed but perhaps not meant, one line each.
    """

    rows: list[dict[str, Any]]
    warnings: list[str]


def read_sheet(path: str | Path) -> Sheet:
    """Read and check the sheet; no image is opened or looked for.

    Parameters
    ----------
    path : path-like
        Tab-separated text in UTF-8 or UTF-16, one row a field.

    Returns
    -------
    Sheet

    Raises
    ------
    UserError
        With the file, row (the header is row 1) and column of the first
        mistake, and what is allowed.
    """
    path = Path(path)
    table = _cells(path)
    columns = _columns(table, path)
    rows = [
        _row(cells, columns, number, path)
        for number, cells in enumerate(table[1:], start=2)
        if any(cells)
    ]
    if not rows:
        raise UserError(f"{path}: the sheet has no row below its header; write one a field")
    _check_names(rows, path)
    warnings = _settle_slides(rows, path)
    _check_references(rows, path)
    _check_shared(rows, path, "volume_ul", "the slide's volume in all its rows")
    warnings += _repeated_images(rows)
    return Sheet([_complete(row, columns, path) for row in rows], warnings)


@cache
def _schema() -> dict[str, Any]:
    return yaml.safe_load(SCHEMA.read_text(encoding="utf-8"))


@cache
def _validator() -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(_schema())


def _cells(path: Path) -> list[list[str]]:
    """Return the stripped cells of all rows, empty rows included."""
    data = path.read_bytes()
    if data.startswith(b"PK"):
        raise UserError(f'{path}: this is a workbook; save it as "Text (tab delimited)"')
    encoding = "utf-16" if data.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig"
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        raise UserError(
            f'{path}: the text is not UTF-8; in Excel save it as "Unicode text"'
        ) from error
    rows: list[list[str]] = []
    try:
        for cells in csv.reader(io.StringIO(text, newline=""), delimiter="\t", strict=True):
            rows.append([cell.strip() for cell in cells])
    except csv.Error as error:
        raise UserError(
            f"{path}, row {len(rows) + 1}: the quotation marks do not match ({error})"
        ) from error
    return rows


def _columns(table: list[list[str]], path: Path) -> list[str]:
    """Return the header without the empty columns at its end; refuse what is not known."""
    header = list(table[0]) if table else []
    while header and not header[-1]:
        header.pop()
    if len(header) == 1 and re.search("[,;]", header[0]):
        raise UserError(f"{path}, row 1: the columns must be separated by tabs, not by , or ;")
    known = list(_schema()["properties"])
    for number, name in enumerate(header, start=1):
        if not name:
            raise UserError(f"{path}, row 1: column {number} has no name")
        if header.count(name) > 1:
            raise UserError(f"{path}, row 1: there are two columns {name!r}; one is allowed")
        if name not in known and not any(
            re.search(p, name) for p in _schema()["patternProperties"]
        ):
            close = difflib.get_close_matches(name.lower(), known, 1)
            meant = f"did you mean {close[0]!r}? " if close else ""
            raise UserError(
                f"{path}, row 1: unknown column {name!r}; {meant}"
                f"allowed are {', '.join(known)} and columns of your own that begin with x_"
            )
    for name in _schema()["required"]:
        if name not in header:
            raise UserError(f"{path}, row 1: the column {name!r} is missing")
    return header


def _row(cells: list[str], columns: list[str], number: int, path: Path) -> dict[str, Any]:
    """Return the cells that are not empty, typed and checked against the schema."""
    if any(cells[len(columns) :]):
        raise UserError(f"{path}, row {number}: more cells than the header has columns")
    row = {name: _typed(name, cell) for name, cell in zip(columns, cells, strict=False) if cell}
    for error in _validator().iter_errors(row):
        if error.validator == "required":
            empty = next(name for name in error.validator_value if name not in row)
            raise UserError(f"{path}, row {number}, column {empty}: the cell is empty")
        (column,) = error.path
        raise UserError(
            f"{path}, row {number}, column {column}: {row[column]!r} is not allowed; "
            f"allowed: {_allowed(column)}"
        )
    return {**row, ROW: number}


def _typed(name: str, cell: str) -> Any:
    """Turn a cell into what the schema expects, or leave it for the schema to refuse."""
    expected = _property(name).get("type")
    if expected == "boolean":
        return {"yes": True, "no": False}.get(cell.lower(), cell)
    if expected == "number":
        return float(cell.replace(",", ".")) if _NUMBER.fullmatch(cell) else cell
    return cell if name in PATHS else " ".join(cell.split())


def _property(name: str) -> dict[str, Any]:
    """Return a column's schema with its reference followed."""
    found = _schema()["properties"].get(name, {"type": "string"})
    shared = _schema()["$defs"].get(found.get("$ref", "").rpartition("/")[2], {})
    return {**shared, **found}


def _allowed(name: str) -> str:
    return " ".join(_property(name)["description"].split())


def _check_names(rows: list[dict[str, Any]], path: Path) -> None:
    """Refuse a field twice, and names that one kind of file system cannot tell apart."""
    for column in NAMES:
        seen: dict[str, dict[str, Any]] = {}
        for row in (row for row in rows if column in row):
            first = seen.setdefault(row[column].lower(), row)
            if first is row or (column != "field" and first[column] == row[column]):
                continue
            same = "again" if first[column] == row[column] else "with other capitals"
            raise UserError(
                f"{path}, row {row[ROW]}, column {column}: {row[column]!r} is in row "
                f"{first[ROW]} {same}; allowed: names that differ"
            )


def _settle_slides(rows: list[dict[str, Any]], path: Path) -> list[str]:
    """Let a field without a slide be its own; refuse a slide of two patients."""
    named = {row["slide"].lower(): row for row in rows if "slide" in row}
    without = [row for row in rows if "slide" not in row]
    for row in without:
        if row["field"].lower() in named:
            raise UserError(
                f"{path}, row {row[ROW]}, column slide: the cell is empty and {row['field']!r} is "
                f"the slide of row {named[row['field'].lower()][ROW]}; name the slide"
            )
        row["slide"] = row["field"]
    _check_shared(rows, path, "patient", "one patient for all rows of a slide")
    if not without:
        return []
    return [
        f"{len(without)} of {len(rows)} fields have no slide: each is taken for a slide of its "
        "own, and its thresholds and rates rest on it alone"
    ]


def _check_references(rows: Iterable[dict[str, Any]], path: Path) -> None:
    for row in rows:
        if row.get("reference") and "reference_nuclei" in row:
            raise UserError(
                f"{path}, row {row[ROW]}, column reference_nuclei: reference is yes, so all nuclei "
                "are normal; allowed: one of the two"
            )


def _check_shared(rows: Iterable[dict[str, Any]], path: Path, column: str, allowed: str) -> None:
    """Refuse rows of a slide that differ in what only the slide as a whole can have."""
    first: dict[str, dict[str, Any]] = {}
    for row in rows:
        other = first.setdefault(row["slide"], row)
        if row.get(column) != other.get(column):
            raise UserError(
                f"{path}, row {row[ROW]}, column {column}: slide {row['slide']!r} has "
                f"{row.get(column, 'none')} here and {other.get(column, 'none')} in row "
                f"{other[ROW]}; allowed: {allowed}"
            )


def _repeated_images(rows: Iterable[dict[str, Any]]) -> list[str]:
    seen: dict[str, dict[str, Any]] = {}
    warnings = []
    for row in rows:
        first = seen.setdefault(row["image"], row)
        if first is not row:
            warnings.append(f"rows {first[ROW]} and {row[ROW]} have the same image {row['image']}")
    return warnings


def _complete(row: dict[str, Any], columns: Iterable[str], path: Path) -> dict[str, Any]:
    """Add the columns that are not there and make paths relative to the sheet."""
    own = [name for name in columns if name.startswith("x_")]
    full = {name: row.get(name) for name in [*_schema()["properties"], *own]}
    full.update({name: bool(full[name]) for name in ("train", "reference")})
    full.update({name: str(path.parent / full[name]) for name in PATHS if full[name]})
    return full
