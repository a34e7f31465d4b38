"""The configuration, checked before any job; sections become command-line flags."""

import math
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import yaml

from cellsieve.errors import UserError

SCHEMA = Path(__file__).parents[3] / "workflow" / "schemas" / "config.schema.yaml"


def check_config(config: dict[str, Any]) -> None:
    """Coerce numbers that arrived as text, then refuse what the schema does not allow.

    Parameters
    ----------
    config : dict
        Changed in place: text becomes a number where only a number is allowed.

    Raises
    ------
    UserError
        With the key, its value and what is allowed.
    """
    schema = _schema()
    _coerce(config, schema)
    errors = jsonschema.Draft202012Validator(schema).iter_errors(config)
    error = next(iter(sorted(errors, key=lambda e: list(map(str, e.absolute_path)))), None)
    if error is not None:
        raise UserError(_explain(error))


def as_flags(section: Mapping[str, Any]) -> list[str]:
    """Turn a section into command-line words; what is null is left out.

    Examples
    --------
    >>> as_flags({"min_gain_probes": 2, "radius_px": None})
    ['--min-gain-probes', '2']
    """
    words = []
    for key, value in section.items():
        if value is not None:
            words += [f"--{key.replace('_', '-')}", str(value)]
    return words


@cache
def _schema() -> dict[str, Any]:
    return yaml.safe_load(SCHEMA.read_text(encoding="utf-8"))


def _coerce(values: dict[str, Any], schema: Mapping[str, Any]) -> None:
    for key, rule in schema.get("properties", {}).items():
        value = values.get(key)
        if isinstance(value, dict):
            _coerce(value, rule)
        elif isinstance(value, str | float) and "string" not in _types(rule):
            values[key] = _number(value, _types(rule))


def _types(rule: Mapping[str, Any]) -> list[str]:
    allowed = rule.get("type", "string")
    return [allowed] if isinstance(allowed, str) else allowed


def _number(value: str | float, types: list[str]) -> Any:
    """Return the number that is meant, or the text that the schema is to refuse."""
    try:
        number = float(value)
    except ValueError:
        return value
    if not math.isfinite(number):
        return str(value)
    return int(number) if "integer" in types and number.is_integer() else number


def _explain(error: jsonschema.ValidationError) -> str:
    key = ".".join(map(str, error.absolute_path))
    section = f" in section {key}" if key else ""
    if error.validator == "additionalProperties":
        known = sorted(error.schema["properties"])
        unknown = next(name for name in error.instance if name not in known)
        return f"configuration: unknown key {unknown!r}{section}; allowed: {', '.join(known)}"
    if error.validator == "required":
        missing = next(name for name in error.validator_value if name not in error.instance)
        return f"configuration: the key {missing!r}{section} is missing"
    # of a mapping of the user's own keys, one of these may be wrong
    found = f"has the key {error.instance!r}"
    if "propertyNames" not in error.absolute_schema_path:
        found = f"is {error.instance!r}"
    allowed = _description(error)
    if error.validator == "type" and "properties" in error.schema:
        allowed = f"a section with the keys {', '.join(error.schema['properties'])}"
    return f"configuration: {key or 'the file'} {found}; allowed: {' '.join(allowed.split())}"


def _description(error: jsonschema.ValidationError) -> str:
    """Return what the nearest rule above the mistake says is allowed."""
    rule = _schema()
    description = rule["description"]
    for part in error.absolute_path:
        rule = rule.get("properties", {}).get(part, {})
        description = rule.get("description", description)
    return description
