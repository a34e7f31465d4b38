"""What a reference model consists of, known without importing what reads it."""

from collections.abc import Mapping
from typing import Any

from cellsieve.choices import MODALITY, REFERENCE_FORMAT

RECORD = "record.json"
FILES = {
    "bank": "bank.parquet",
    "calibration": "calibration.parquet",
    "thumbnails": "thumbnails.zarr.zip",
    "signs": "signs.json",
}
NETWORK = "network.safetensors"
WINDOWS = "windows.parquet"
OPTIONAL = {
    "network": NETWORK,  # of a model whose nuclei a network has described
    "windows": WINDOWS,  # where it looks at their surroundings, too
}
MODEL = (*FILES.values(), RECORD)  # what every model has


def files_of(record: Mapping[str, Any]) -> dict[str, str]:
    """Return the files that a record names, by what they hold."""
    return FILES | {name: file for name, file in OPTIONAL.items() if name in record["sha256"]}


def unusable(record: Mapping[str, Any]) -> str | None:
    """Say why a model of this record cannot be used, or None if it can.

    Raises
    ------
    KeyError
        If it is the record of something else.
    """
    if record["format"] != REFERENCE_FORMAT:
        return (
            f"a reference model of format {record['format']}, but this cellsieve reads"
            f" {REFERENCE_FORMAT}; learn it again from its reference fields"
        )
    # models of before it was written down are all of this one
    modality = record.get("modality", MODALITY)
    return None if modality == MODALITY else f"a reference model of {modality}, not {MODALITY}"
