"""The configuration, checked before any job; sections become command-line flags."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import yaml

from cellsieve.errors import UserError

SCHEMA = Path(__file__).parents[2] / "workflow" / "schemas" / "config.schema.yaml"


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
        elif isinstance(value, str) and "string" not in _types(rule):
            values[key] = _number(value, _types(rule))


def _types(rule: Mapping[str, Any]) -> list[str]:
    allowed = rule.get("type", "string")
    return [allowed] if isinstance(allowed, str) else allowed


def _number(text: str, types: list[str]) -> Any:
    for name, convert in (("integer", int), ("number", float)):
        if name in types:
            try:
                return convert(text)
            except ValueError:
                continue
    return text


def _explain(error: jsonschema.ValidationError) -> str:
    key = ".".join(map(str, error.absolute_path))
    if error.validator == "additionalProperties":
        known = sorted(error.schema.get("properties", {}))
        unknown = sorted(set(error.instance) - set(known))
        where = f" in section {key}" if key else ""
        return f"configuration: unknown key {unknown[0]!r}{where}; allowed: {', '.join(known)}"
    if error.validator == "required":
        return f"configuration: {error.message}{f' in section {key}' if key else ''}"
    described = error.schema if "description" in error.schema else _description(error)
    return (
        f"configuration: {key or 'the file'} is {error.instance!r}; "
        f"allowed: {' '.join(described['description'].split())}"
    )


def _description(error: jsonschema.ValidationError) -> Mapping[str, Any]:
    """Return the nearest rule above the mistake that says what is allowed."""
    found = _schema()
    rule = found
    for part in error.absolute_path:
        rule = rule.get("properties", {}).get(part, {})
        if "description" in rule:
            found = rule
    return found
