"""What the columns of a table are, as a Frictionless Table Schema.

References
----------
Table Schema, https://datapackage.org/standard/table-schema/.
"""

from collections.abc import Iterable
from typing import Any

from cellsieve.columns import NUMBERS, definition
from cellsieve.stage_columns import unit
from cellsieve.tables import ANOMALY, MEASUREMENTS

_TYPES = {"int64": "integer", "float64": "number", "bool": "boolean", "string": "string"}
_WHOLE = frozenset(
    {
        *(
            "nuclei",
            "assessable",
            "assessable_fish",
            "assessable_cac",
            "suspicious",
            "cac",
            "height_px",
            "width_px",
        ),
        *("slides", "fields", "fields_ok", "fields_flagged", "fields_empty", "fields_rejected"),
    }
)
_KNOWN = {name: _TYPES[of] for name, of in (MEASUREMENTS | ANOMALY).items()}
_KNOWN |= {"anomaly_z": "number", "anomaly_q": "number"}


def table_schema(columns: Iterable[str]) -> dict[str, Any]:
    """Describe the columns of a table of a run.

    Parameters
    ----------
    columns : iterable of str
        In order. A column beside which there is one with ``_state`` holds the
        counts of a probe.

    Returns
    -------
    dict
        Ready for JSON: for each field ``name``, ``type``, ``description`` and,
        where it has one, ``unit``.
    """
    names = list(columns)
    probes = [name for name in names if f"{name}_state" in names]
    return {
        "fields": [_field(name, probes) for name in names],
        "missingValues": [""],
    }


def _field(name: str, probes: list[str]) -> dict[str, str]:
    field = {"name": name, "type": _type(name, probes), "description": definition(name, probes)}
    if of := unit(name):
        field["unit"] = of
    return field


def _type(name: str, probes: list[str]) -> str:
    if name in _WHOLE or name in probes:
        return "integer"
    return "number" if name in NUMBERS else _KNOWN.get(name, "string")
