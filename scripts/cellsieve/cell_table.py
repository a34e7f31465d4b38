"""The table of nuclei that a user reads: which columns, in which order."""

from collections.abc import Sequence

import pandas as pd

from cellsieve.tables import MEASUREMENTS

_WHERE = ("field", "slide", "patient")
_MEASURED = tuple(name for name in MEASUREMENTS if name not in ("contact", "bright_part"))
_ANOMALY = (
    "anomaly_crop",
    "anomaly_map",
    "anomaly_score",
    "anomaly_z",
    "anomaly_p",
    "anomaly_q",
    "nearest_reference_1",
    "nearest_reference_2",
    "call",
)


def count_columns(probes: Sequence[str]) -> list[str]:
    """Columns of the signal counts: ``aqua, aqua_state, green, green_state, …``."""
    return [column for probe in probes for column in (probe, f"{probe}_state")]


def call_columns(probes: Sequence[str]) -> list[str]:
    """Columns of a slide's ``calls.parquet``, in order."""
    return ["field", "slide", "cell", *_ANOMALY, *count_columns(probes), "fish_call", "reasons"]


def cell_columns(probes: Sequence[str]) -> list[str]:
    """Columns of ``cells.csv``, in order.

    Parameters
    ----------
    probes : sequence of str
        Names of the probes as the configuration orders them.
    """
    return [*_WHERE, *_MEASURED, *_ANOMALY, *count_columns(probes), "fish_call", "reasons"]


def cell_table(
    field: str,
    slide: str,
    patient: str | None,
    measurements: pd.DataFrame,
    calls: pd.DataFrame,
    *,
    probes: Sequence[str],
) -> pd.DataFrame:
    """Join what was measured of a field's nuclei with what was called.

    Parameters
    ----------
    field, slide : str
        Names from the sheet.
    patient : str or None
        Stays empty when the sheet names none.
    measurements : DataFrame
        The field's measurements, one row a nucleus.
    calls : DataFrame
        Calls of the whole slide; rows of other fields are passed over.
    probes : sequence of str
        Names of the probes.

    Returns
    -------
    DataFrame
        One row a nucleus in the order of ``measurements``, with the columns
        of `cell_columns`.

    Raises
    ------
    ValueError
        If the calls are not of exactly the nuclei that were measured.
    """
    own = calls[calls["field"] == field]
    if len(own) != len(measurements) or set(own["cell"]) != set(measurements["cell"]):
        raise ValueError(f"the calls of slide {slide} are not of the nuclei of field {field}")
    joined = measurements.merge(
        own.drop(columns=["field", "slide"]), on="cell", how="left", validate="one_to_one"
    )
    joined = joined.assign(field=field, slide=slide, patient=patient)
    return joined[cell_columns(probes)]
