"""Cards of the gallery: a nucleus in pictures and numbers, beside its nearest reference."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cellsieve.images import open_field
from cellsieve.pictures import (
    RGB,
    channel_colour,
    composite,
    contrast_limits,
    crop,
    enlarge,
    outline_overlay,
    scale_bar,
    stretch,
)
from cellsieve.report.inputs import read_json
from cellsieve.report.pictures import data_uri
from cellsieve.stores import open_labels, open_zip

CROP_DIAMETERS = 2.5  # side of a crop in typical nucleus diameters
CROP_PX = (48, 320)  # bounds of that side, when the diameter is odd or unknown
SHOWN_PX = 220
DAPI_TOP = 99.8  # percentiles within the foreground of the field
DAPI_GAMMA = 0.6  # a few very bright nuclei must not leave the others in the dark
PROBE_LIMITS = (25.0, 99.9)
FAINT: RGB = (150, 150, 150)
DAPI_IN_COMPOSITE: RGB = (45, 50, 120)


@dataclass(frozen=True)
class Card:
    """One nucleus of the gallery.

    Attributes
    ----------
    row : dict
        Its row of ``cells.csv``; None where the table is empty.
    dapi, probes : str
        Data URIs; ``probes`` is empty when the field has none.
    bar_um : float or None
        Length of the scale bar; None when the pixel size is not known.
    dna : float or None
        ``dapi_sum`` over the median of the slide.
    references : list of (str, str)
        Name and data URI of the nearest reference nuclei.
    """

    row: Mapping[str, Any]
    dapi: str
    probes: str
    bar_um: float | None
    dna: float | None
    references: list[tuple[str, str]] = field(default_factory=list)

    @property
    def anchor(self) -> str:
        """Name of the card within the page."""
        return f"nucleus-{self.row['field']}-{self.row['cell']}"


def make_cards(
    rows: pd.DataFrame,
    manifest: Mapping[str, Mapping[str, str]],
    *,
    channels: Mapping[str, str],
    projection: str,
    typical_dna: Mapping[str, float],
    thumbnails: Sequence[Path],
) -> list[Card]:
    """Make the cards of some nuclei, in their order; each field is opened once.

    Parameters
    ----------
    rows : DataFrame
        Rows of ``cells.csv``.
    manifest : mapping
        Field to its row of the manifest.
    channels : mapping of str to str
        Role to channel; DAPI first.
    projection : str
        How a z-stack becomes a plane.
    typical_dna : mapping
        Slide to the median of ``dapi_sum``.
    thumbnails : sequence of Path
        Pictures of the reference nuclei, one store a model; none without a reference.
    """
    cards: dict[int, Card] = {}
    numbered = rows.reset_index(drop=True)
    with _reference_pictures(thumbnails) as reference:
        for name, group in numbered.groupby("field", sort=False):
            with _open_nuclei(manifest[name], channels, projection) as nuclei:
                for position, row in zip(group.index, _records(group), strict=True):
                    usual = typical_dna.get(row["slide"])
                    cards[position] = Card(
                        row=row,
                        **nuclei.pictures(row),
                        dna=row["dapi_sum"] / usual if usual and row["dapi_sum"] else None,
                        references=reference(row),
                    )
    return [cards[position] for position in sorted(cards)]


class _Nuclei:
    """Pictures of the nuclei of one open field, all with the same contrast."""

    def __init__(
        self, dapi: Any, foreground: Any, labels: Any, probes: Mapping[str, Any], qc: Mapping
    ) -> None:
        self._dapi, self._labels, self._probes = dapi, labels, probes
        # the background is removed already: 0 counts are black in every field
        self._dapi_limits = (0.0, contrast_limits(dapi, 0, DAPI_TOP, where=foreground)[1])
        self._probe_limits = {
            role: contrast_limits(plane, *PROBE_LIMITS, where=foreground)
            for role, plane in probes.items()
        }
        self._pixel_size_um = qc["pixel_size_um"]
        side = round((qc["diameter_px"] or 0) * CROP_DIAMETERS)
        self._side = int(np.clip(side, *CROP_PX))
        self._factor = max(1, round(SHOWN_PX / self._side))

    def pictures(self, row: Mapping[str, Any]) -> dict[str, Any]:
        centre = (row["y_px"], row["x_px"])
        own = enlarge(crop(self._labels, centre, self._side) == row["cell"], self._factor, False)
        dapi = self._shown(self._dapi, centre, self._dapi_limits, DAPI_GAMMA)
        drawn, bar_um = outline_overlay(dapi, own), None
        if self._pixel_size_um:
            drawn, bar_um = scale_bar(drawn, self._pixel_size_um / self._factor)
        probes = ""
        if self._probes:
            light = [self._shown(p, centre, self._probe_limits[r]) for r, p in self._probes.items()]
            colours = [channel_colour(role, n) for n, role in enumerate(self._probes)]
            mixed = composite([dapi, *light], [DAPI_IN_COMPOSITE, *colours])
            probes = data_uri(outline_overlay(mixed, own, FAINT))
        return {"dapi": data_uri(drawn), "probes": probes, "bar_um": bar_um}

    def _shown(
        self,
        plane: Any,
        centre: tuple[float, float],
        limits: tuple[float, float],
        gamma: float = 1.0,
    ) -> np.ndarray:
        return enlarge(stretch(crop(plane, centre, self._side), limits, gamma), self._factor)


@contextmanager
def _open_nuclei(
    paths: Mapping[str, str], channels: Mapping[str, str], projection: str
) -> Iterator[_Nuclei]:
    qc = read_json(paths["qc"])
    probes = [role for role in list(channels)[1:] if role in qc["channels"]]
    with (
        open_zip(paths["dapi"]) as store,
        open_labels(paths["nuclei"]) as labels,
        open_field(paths["image"], channels, projection) as image,
    ):
        planes = {role: image.plane(role) for role in probes}
        yield _Nuclei(store["dapi"], store["foreground"], labels, planes, qc)


@contextmanager
def _reference_pictures(thumbnails: Sequence[Path]) -> Iterator[Any]:
    """Give a function from a row to the pictures of its nearest reference nuclei."""
    with ExitStack() as opened:
        # an id names field and cell, so no two models share one
        place = {}
        for path in thumbnails:
            store = opened.enter_context(open_zip(path))
            pictures = store["thumbnails"]
            place |= {name: (pictures, n) for n, name in enumerate(store.attrs["ids"])}

        def nearest(row: Mapping[str, Any]) -> list[tuple[str, str]]:
            names = [row["nearest_reference_1"], row["nearest_reference_2"]]
            found = [(name, *place[name]) for name in names if name in place]
            return [(name, data_uri(np.asarray(stored[n]))) for name, stored, n in found]

        yield nearest


def _records(rows: pd.DataFrame) -> Sequence[dict[str, Any]]:
    """Rows as dictionaries with None for what is missing."""
    return rows.astype(object).where(rows.notna(), None).to_dict("records")
