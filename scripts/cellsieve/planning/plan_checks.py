"""What a configuration must not ask for, beyond what its schema says."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cellsieve.anomaly.reference_files import RECORD, files_of, unusable
from cellsieve.cell_table import cell_columns
from cellsieve.choices import UNFITTED
from cellsieve.errors import UserError
from cellsieve.segmenters import read_notes


def check_plan(config: Mapping[str, Any]) -> None:
    """Refuse what no run can do.

    Parameters
    ----------
    config : mapping
        Valid by its schema.

    Raises
    ------
    UserError
        On the first mistake.
    """
    _check_channels(config["channels"])
    _check_results(config)
    _check_segmenter(config["segmenter"])
    _check_surroundings(config["anomaly"])
    _check_reference(config["anomaly"]["weights"])


def undecidable(config: Mapping[str, Any]) -> list[str]:
    """Warn of a rule by which no nucleus can be a CAC."""
    probes, gains = len(config["channels"]) - 1, config["calls"]["min_gain_probes"]
    if not 0 < probes < gains:
        return []
    said = f"calls.min_gain_probes is {gains}, but channels has {probes} probe{'s' * (probes > 1)}"
    return [f"{said}: no nucleus can be a CAC"]


def _check_channels(channels: Mapping[str, Any]) -> None:
    """Refuse roles that would be a column twice, and one channel in two roles."""
    taken = {name for name in cell_columns([]) if name != "dapi"}
    taken |= {f"{role}_state" for role in channels}
    for role in channels:
        if role in taken:
            raise UserError(
                f"configuration: channels.{role} is the name of a column of cells.csv; "
                "allowed: any other name in small letters"
            )
    names = [str(channel) for channel in channels.values()]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise UserError(
            f"configuration: channels names {twice[0]!r} twice; allowed: one role a channel"
        )


def _check_results(config: Mapping[str, Any]) -> None:
    """Refuse a results folder that cannot be written."""
    results = Path(config["results"])
    nearest = next(path for path in (results, *results.parents) if path.exists())
    if not nearest.is_dir():
        raise UserError(
            f"configuration: results is {config['results']!r}, but {nearest} is a file; "
            "allowed: a folder"
        )
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise UserError(
            f"configuration: results is {config['results']!r}, but there is no permission to "
            f"write in {nearest}; allowed: a folder that you may write in"
        )


def _check_segmenter(segmenter: Mapping[str, Any]) -> None:
    """Refuse weights that are no segmenter's, or another network's."""
    weights, network = segmenter["weights"], segmenter["network"]
    if not weights or segmenter["method"] == "coarse":
        return
    try:
        notes = read_notes(weights, segmenter["method"])
    except UserError as error:
        raise UserError(
            f"configuration: segmenter.weights: {error}; allowed:"
            " models/segmenter/weights.safetensors of another run"
        ) from error
    found = notes.get("backbone", notes.get("variant"))
    if network and network != found:
        raise UserError(
            f"configuration: segmenter.network is {network!r}, but segmenter.weights are of"
            f" {found!r}; allowed: null"
        )


def _check_surroundings(anomaly: Mapping[str, Any]) -> None:
    """Refuse surroundings that no network of the run looks at."""
    if anomaly["weights"] or anomaly["surroundings"] != "localised":
        return
    if anomaly["method"] in UNFITTED:
        raise UserError(
            "configuration: anomaly.surroundings is 'localised', which only a network that"
            f" is fitted can do, but anomaly.method is {anomaly['method']!r}; allowed: specks,"
            " or a network"
        )


def _check_reference(weights: str | None) -> None:
    """Refuse a folder that is no reference model, or none that can be used."""
    if not weights:
        return
    said = f"configuration: anomaly.weights is {weights!r}"
    allowed = "allowed: the folder of a reference model, models/reference of another run"
    record = _record(Path(weights, RECORD))
    needed = [*files_of(record or {"sha256": {}}).values(), RECORD]
    if missing := [name for name in needed if not Path(weights, name).is_file()]:
        raise UserError(f"{said}, which has no {missing[0]}; {allowed}")
    if record is None:
        raise UserError(f"{said}, whose record.json is of something else; {allowed}")
    if fault := unusable(record):
        raise UserError(f"{said}, {fault}")


def _record(path: Path) -> dict[str, Any] | None:
    """Return the record of a model; None if it is missing, broken or of something else."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        return record if {"format", "sha256"} <= set(record) else None
    except (OSError, ValueError, TypeError):
        return None
