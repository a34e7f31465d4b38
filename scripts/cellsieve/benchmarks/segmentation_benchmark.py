"""Compare the labels of several methods with the truth of the same fields."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from cellsieve.benchmarks.agreement import compare_labels, summarise
from cellsieve.errors import UserError
from cellsieve.manifest import read_manifest
from cellsieve.stores import check_labels, open_labels, open_zip

FIGURES = ("dice", "aji", "ap50", "map", "f1")
COLUMNS = (
    *("method", "network", "device", "fields", "nuclei"),
    *(f"{figure}{end}" for figure in FIGURES for end in ("", "_low", "_high")),
    *("seconds_per_frame", "seconds_per_megapixel", "note"),
)
# a figure that no method has is missing, too
_TYPES = {"fields": "Int64", "nuclei": "Int64"} | {
    f"{figure}{end}": "float64" for figure in FIGURES for end in ("", "_low", "_high")
}


class Result(NamedTuple):
    """What one method made of the fields.

    Attributes
    ----------
    labels : path-like
        Its store: a plane of labels a field.
    about : dict of str to str
        ``method, network, device, note``.
    table : DataFrame
        One row a field: ``field``, what `compare_labels` returns, ``seconds,
        height, width``. Without rows when the method could not be run.
    """

    labels: Path | str
    about: Mapping[str, str]
    table: pd.DataFrame


def read_fields(manifest: Path | str) -> list[dict[str, str]]:
    """Read the rows of a manifest that have a ``truth``.

    Raises
    ------
    UserError
        When there is none.
    """
    rows = read_manifest(manifest, ["field", "truth", "dapi", "qc"])
    known = [row for row in rows if row["truth"]]
    if not known:
        raise UserError(f"{manifest}: no field has a truth to compare with")
    return known


def compare_method(
    labels: Path | str, times: Path | str, rows: Sequence[Mapping[str, str]]
) -> Result:
    """Compare one method's labels with the truth.

    Parameters
    ----------
    labels, times : path-like
        What ``benchmark_method.py`` wrote. A field that is not among the labels, as
        its image could not be used, is left out.
    rows : sequence of mapping
        From `read_fields`.

    Raises
    ------
    UserError
        When a truth is not of integers of its field's size.
    """
    compared = []
    with open_zip(labels) as store:
        about = {name: str(store.attrs[name]) for name in ("method", "network", "device", "note")}
        for row in rows:
            if row["field"] in store:
                with open_labels(row["truth"]) as truth:
                    check_labels(truth, store[row["field"]].shape, row["field"], row["truth"])
                    found = compare_labels(truth, store[row["field"]])
                compared.append({"field": row["field"], **found})
    table = pd.DataFrame(compared, columns=None if compared else ["field"])
    seconds = pd.read_csv(times, dtype={"field": str}, keep_default_na=False)
    return Result(labels, about, table.merge(seconds, on="field", validate="1:1"))


def check_same_fields(results: Sequence[Result]) -> None:
    """Refuse methods that were run on different fields: their figures cannot be compared.

    Raises
    ------
    UserError
        Also when no method has any field.
    """
    done = [result for result in results if len(result.table)]
    if not done:
        raise UserError(
            "there are no labels to compare (rejected fields have none, see their qc.json)"
        )
    first = done[0]
    for result in done[1:]:
        if list(result.table["field"]) != list(first.table["field"]):
            raise UserError(
                f"{result.labels} holds labels of other fields than {first.labels}; "
                "allowed: methods run on the same manifest"
            )


def benchmark_table(results: Sequence[Result]) -> pd.DataFrame:
    """Average over the fields.

    Parameters
    ----------
    results : sequence of Result

    Returns
    -------
    DataFrame
        One row a method, columns as in `COLUMNS`. ``f1`` is pooled over the nuclei of
        all fields, the other figures are means over fields; ``_low`` and ``_high`` are
        the ends of `cellsieve.benchmarks.bootstrap`'s intervals over fields. Figures of a method
        that could not be run are missing.
    """
    table = pd.DataFrame([_row(result) for result in results], columns=list(COLUMNS))
    return table.astype(_TYPES)


def fields_table(results: Sequence[Result]) -> pd.DataFrame:
    """Put the fields of all methods below each other, ``method`` first."""
    tables = [result.table.assign(method=result.about["method"]) for result in results]
    table = pd.concat([table for table in tables if len(table)], ignore_index=True)
    return table[["method", *table.columns.drop("method")]]


def _row(result: Result) -> dict[str, Any]:
    table = result.table
    row: dict[str, Any] = dict(result.about)
    if table.empty:
        return row
    found = summarise(table)
    for name in FIGURES:
        row[name], row[f"{name}_low"], row[f"{name}_high"] = found[name].values()
    megapixels = (table["height"] * table["width"]).sum() / 1e6
    return row | {
        "fields": found["fields"],
        "nuclei": found["nuclei"],
        "seconds_per_frame": table["seconds"].mean(),
        "seconds_per_megapixel": table["seconds"].sum() / megapixels,
    }
