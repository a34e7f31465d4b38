"""Typed tables between stages: Parquet with the columns that the stage promises."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from cellsieve.files import atomic
from cellsieve.stage_columns import stage_definition, unit

_NOTES = b"cellsieve_notes"

# pandas dtypes: "Int64" is an integer that may be missing, "int64" one that may not
MEASUREMENTS = {
    "cell": "int64",
    "y_px": "float64",
    "x_px": "float64",
    "y_um": "float64",
    "x_um": "float64",
    "area_px": "int64",
    "area_um2": "float64",
    "major_um": "float64",
    "minor_um": "float64",
    "eccentricity": "float64",
    "solidity": "float64",
    "dapi_mean": "float64",
    "dapi_sum": "float64",
    "touches_border": "bool",
    "overlapping": "bool",
    # of no interest in cells.csv
    "contact": "float64",
    "bright_part": "float64",
}
SIGNALS = {
    "probe": "string",
    "cell": "int64",
    "y_px": "float64",
    "x_px": "float64",
    "size_px": "float64",
    "height": "float64",
    "contrast": "float64",
    "shared": "bool",
}
ANOMALY = {
    "cell": "int64",
    "anomaly_crop": "float64",
    "anomaly_map": "float64",
    "anomaly_score": "float64",
    "anomaly_p": "float64",
    "nearest_reference_1": "string",  # "{field}:{cell}"
    "nearest_reference_2": "string",
}


def write_table(
    path: Path | str,
    frame: pd.DataFrame,
    columns: Mapping[str, str],
    notes: Sequence[str] = (),
) -> None:
    """Write the promised columns, in their order and types, as Parquet.

    Parameters
    ----------
    path : path-like
        Written atomically. What each column means is in the metadata of its field
        in the Parquet schema, as ``description`` and, where it has one, ``unit``.
    frame : DataFrame
        May be empty and may then lack columns; otherwise it has all of them.
    columns : mapping of str to str
        Column name to pandas dtype. Columns of ``frame`` that are not named
        are refused, so that a table never grows unnoticed.
    notes : sequence of str
        What a reader of the field should know; kept in the file's metadata.

    Raises
    ------
    ValueError
        If columns are missing from a frame that has rows, or unknown.
    """
    if len(frame) and set(frame.columns) != set(columns):
        raise ValueError(f"columns {sorted(set(frame.columns) ^ set(columns))} are not as promised")
    typed = frame.reindex(columns=list(columns)).astype(dict(columns)).reset_index(drop=True)
    table = pa.Table.from_pandas(typed, preserve_index=False)
    metadata = {**(table.schema.metadata or {}), _NOTES: json.dumps(list(notes)).encode()}
    probes = [name for name in columns if f"{name}_state" in columns]
    described = pa.schema([_described(field, probes) for field in table.schema], metadata)
    with atomic(path) as part:
        pq.write_table(table.cast(described), part)


def read_table(path: Path | str) -> pd.DataFrame:
    """Read a table that `write_table` wrote, with the same dtypes."""
    return pq.read_table(path).to_pandas()


def read_notes(path: Path | str) -> list[str]:
    """Return the notes kept with a table."""
    metadata = pq.read_schema(path).metadata or {}
    return json.loads(metadata.get(_NOTES, b"[]"))


def _described(field: pa.Field, probes: Sequence[str]) -> pa.Field:
    about = {"description": stage_definition(field.name, probes)}
    if of := unit(field.name):
        about["unit"] = of
    return field.with_metadata(about)
