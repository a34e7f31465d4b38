"""Sections of the page about fields and slides."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cellsieve.report.inputs import read_json
from cellsieve.report.pictures import data_uri, file_uri, heat_limits, heat_picture
from cellsieve.stores import open_zip

LARGEST_PX, SMALLEST_PX = 1000, 320
FULL_SIZE_FIELDS = 12  # with more fields their pictures become smaller
PICTURED = 200  # with more fields only the most important ones have pictures
SIGNALS_PX = 1400


@dataclass(frozen=True)
class FieldSection:
    """One field of the page.

    Attributes
    ----------
    name, slide, patient : str
    qc : dict
        The field's ``qc.json``.
    overlay, heat, training : str
        Data URIs; empty when the field has no picture in the page. The last
        shows its pseudo-labels, of a training field only.
    """

    name: str
    slide: str
    patient: str
    qc: Mapping[str, Any]
    overlay: str = ""
    heat: str = ""
    training: str = ""

    @property
    def numbers(self) -> dict[str, Any]:
        """The measured values of ``qc.json``."""
        told = ("status", "reasons", "missing_channels", "channels", "shape", "image_sha256")
        return {key: value for key, value in self.qc.items() if key not in told}


@dataclass(frozen=True)
class SlideSection:
    """One slide of the page: its summary and the picture of its signals."""

    name: str
    summary: Mapping[str, Any]
    signals: str


def field_sections(
    rows: Sequence[Mapping[str, str]], importance: Mapping[str, int]
) -> tuple[list[FieldSection], tuple[float, float]]:
    """Make the sections of all fields, in the order of the manifest.

    Parameters
    ----------
    rows : sequence of mapping
        Rows of the manifest.
    importance : mapping of str to int
        Field to a number; with more than 200 fields the highest ones get pictures.

    Returns
    -------
    sections : list of FieldSection
    limits : tuple of float
        Scores of the darkest and the brightest colour of all heat maps.
    """
    checks = {row["field"]: read_json(row["qc"]) for row in rows}
    usable = [row for row in rows if checks[row["field"]]["status"] != "rejected"]
    usable.sort(key=lambda row: -importance.get(row["field"], 0))
    pictured = {row["field"] for row in usable[:PICTURED]}
    limits = heat_limits(_score_map(row) for row in usable)
    max_px = picture_size(len(pictured))
    sections = []
    for row in rows:
        pictures = _pictures(row, limits, max_px) if row["field"] in pictured else {}
        who = {key: row.get(key, "") for key in ("slide", "patient")}
        sections.append(FieldSection(name=row["field"], qc=checks[row["field"]], **who, **pictures))
    return sections, limits


def slide_sections(rows: Sequence[Mapping[str, str]]) -> list[SlideSection]:
    """Make the sections of all slides, in the order of the manifest."""
    summaries = {row["slide"]: Path(row["slide_summary"]) for row in rows}
    sections = []
    for slide, path in summaries.items():
        plot = path.with_name("signals.png")
        signals = file_uri(plot, SIGNALS_PX) if plot.is_file() else ""
        sections.append(SlideSection(slide, read_json(path), signals))
    return sections


def picture_size(fields: int) -> int:
    """Longest side of a field's picture, so that a page of many fields stays light."""
    shrunk = LARGEST_PX * math.sqrt(FULL_SIZE_FIELDS / max(fields, FULL_SIZE_FIELDS))
    return max(SMALLEST_PX, round(shrunk))


def _pictures(row: Mapping[str, str], limits: tuple[float, float], max_px: int) -> dict[str, str]:
    pictures = {
        "overlay": file_uri(Path(row["overlay"]), max_px),
        "heat": data_uri(heat_picture(_score_map(row), limits, max_px)),
    }
    if row.get("train") == "yes":
        pictures["training"] = file_uri(Path(row["pseudo_labels_picture"]), max_px)
    return pictures


def _score_map(row: Mapping[str, str]) -> np.ndarray:
    with open_zip(row["anomaly_map"]) as store:
        return np.asarray(store["map"])
