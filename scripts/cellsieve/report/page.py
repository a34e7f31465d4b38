"""Put the parts of the report together as one HTML page."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from cellsieve.columns import NUMBERS, definition
from cellsieve.pictures import channel_colour
from cellsieve.report.density import FEWEST, REACH, Distribution
from cellsieve.report.fields import FieldSection, SlideSection
from cellsieve.report.gallery import Card
from cellsieve.report.inputs import Cells
from cellsieve.report.pictures import heat_legend

TEMPLATE = "page.html.j2"
STATUS_ORDER = ("rejected", "empty", "flagged", "ok")
MISSING = "–"


@dataclass(frozen=True)
class Report:
    """Everything that the page shows.

    Attributes
    ----------
    cells : Cells
    ranked, cacs : list of Card
        The two galleries; a nucleus is in one of them only.
    fields : list of FieldSection
    slides : list of SlideSection
    distribution : Distribution
        Where the suspicious nuclei lie.
    heat_limits : tuple of float
        The one scale of all anomaly maps.
    field_rows, slide_rows, patient_rows : list of dict
        Rows of the tables, as text.
    probes : list of str
    record : dict
        Where the results come from.
    curve : str
        Data URI of the curve of the segmenter's training; empty if there was none.
    """

    cells: Cells
    ranked: Sequence[Card]
    cacs: Sequence[Card]
    fields: Sequence[FieldSection]
    slides: Sequence[SlideSection]
    distribution: Distribution
    heat_limits: tuple[float, float]
    field_rows: Sequence[Mapping[str, str]]
    slide_rows: Sequence[Mapping[str, str]]
    patient_rows: Sequence[Mapping[str, str]]
    probes: Sequence[str]
    record: Mapping[str, Any] = field(default_factory=dict)
    curve: str = ""

    @property
    def by_status(self) -> dict[str, list[Mapping[str, str]]]:
        """Rows of the fields' table by status, the worst first."""
        groups = {status: [] for status in STATUS_ORDER}
        for row in self.field_rows:
            groups[row["status"]].append(row)
        return groups

    @property
    def row_of(self) -> dict[str, Mapping[str, str]]:
        """Row of the fields' table by field."""
        return {row["field"]: row for row in self.field_rows}

    @property
    def failed_probes(self) -> list[tuple[str, str, str]]:
        """Slide, probe and reason of every probe that could not be used."""
        return [
            (slide.name, probe, found["reason"] or found["status"])
            for slide in self.slides
            for probe, found in slide.summary["probes"].items()
            if found["status"] != "ok"
        ]

    @property
    def cards_of(self) -> dict[str, list[Card]]:
        """Cards by field."""
        groups: dict[str, list[Card]] = {}
        for card in (*self.ranked, *self.cacs):
            groups.setdefault(card.row["field"], []).append(card)
        return groups

    @property
    def definitions(self) -> dict[str, str]:
        """Meaning of every column that the page shows, where it is known."""
        tables = (self.field_rows, self.slide_rows, self.patient_rows)
        columns = [*self.cells.ranked.columns, *(c for rows in tables if rows for c in rows[0])]
        known = {column: definition(column, self.probes) for column in columns}
        return {column: text for column, text in known.items() if text}


def render(report: Report) -> str:
    """Return the page as HTML; everything that comes from outside is escaped."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(number=number, share=share, words=words)
    environment.tests["numeric"] = is_numeric
    return environment.get_template(TEMPLATE).render(
        report=report,
        numbers=NUMBERS,
        colours={probe: channel_colour(probe, n) for n, probe in enumerate(report.probes)},
        heat_colours=heat_legend(),
        reach=REACH,
        fewest=FEWEST,
    )


def number(value: Any) -> str:
    """Show a number short enough to read; other values as they are, nothing as a dash."""
    if value is None or value == "":
        return MISSING
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    if not is_numeric(value):
        return str(value)
    real = float(value)
    if real.is_integer() and abs(real) < 1e15:
        return f"{int(real):,}".replace(",", "\u202f")
    return f"{real:.4g}" if abs(real) < 1e4 else f"{real:,.0f}".replace(",", "\u202f")


def is_numeric(value: Any) -> bool:
    """Whether a value of a table is a finite number."""
    try:
        return bool(np.isfinite(float(value)))
    except (TypeError, ValueError):
        return False


def share(part: int, whole: int) -> str:
    """Show a part of a whole in per cent, in brackets; nothing when there is no whole."""
    if not whole:
        return ""
    percent = 100 * part / whole
    return f"({percent:.0f} %)" if percent >= 10 or percent == 0 else f"({percent:.2g} %)"


def words(name: str) -> str:
    """Show a name of the tables as words."""
    return str(name).replace("_", " ")
