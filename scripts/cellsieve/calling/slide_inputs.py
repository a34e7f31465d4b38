"""Gather what was found in the fields of one slide."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from cellsieve.fish.artefacts import in_clumps, in_several_probes
from cellsieve.tables import ANOMALY, MEASUREMENTS, SIGNALS, read_notes, read_table

PATHS = ("qc", "measurements", "signals", "anomaly")
MEASURED = (
    "cell",
    "area_px",
    "solidity",
    "dapi_sum",
    "touches_border",
    "overlapping",
    "contact",
    "bright_part",
)


class SlideInputs(NamedTuple):
    """The nuclei and candidate signals of a slide.

    Attributes
    ----------
    nuclei : DataFrame
        One row a nucleus, fields in the manifest's order: ``field, cell,
        area_px, solidity, dapi_sum, touches_border, overlapping, contact,
        bright_part``, the columns of `tables.ANOMALY` and ``glowing``, whether a clump
        glows on it in several probes.
    signals : DataFrame
        One row a candidate that is no artefact: ``probe, nucleus`` (row of ``nuclei``, −1 when
        outside), ``y_px, x_px, size_px, height, contrast, shared``.
    qc : dict of str to dict
        Field to its qc.json.
    seen : dict of str to set of str
        Field to the probes that have any candidate there. Noise alone makes
        some, so a probe without is flat or missing.
    shifts : dict of str to list of str
        Field to what is unlike the reference in it, of stain or scale.
    notes : list of str
        Of the fields' tables.
    """

    nuclei: pd.DataFrame
    signals: pd.DataFrame
    qc: dict[str, dict[str, Any]]
    seen: dict[str, set[str]]
    shifts: dict[str, list[str]]
    notes: list[str]

    def readable(self, probe: str) -> np.ndarray:
        """Return which nuclei are in fields that have a probe, (n,) bool."""
        return np.array([probe in self.seen[field] for field in self.nuclei["field"]], bool)

    def outside_px(self, probe: str) -> float:
        """Return the pixels outside all nuclei of the fields that have a probe."""
        shapes = [qc["shape"] for field, qc in self.qc.items() if probe in self.seen[field]]
        inside = self.nuclei["area_px"][self.readable(probe)].sum()
        return sum(height * width for height, width in shapes) - float(inside)


def read_slide(rows: Sequence[Mapping[str, str]]) -> SlideInputs:
    """Read the tables of a slide's fields.

    Parameters
    ----------
    rows : sequence of mapping
        Of the manifest: ``field, qc, measurements, signals, anomaly``.
    """
    nuclei = [_no_rows("field", *MEASURED, *list(ANOMALY)[1:], "glowing")]
    signals = [_no_rows("probe", "nucleus", *list(SIGNALS)[2:])]
    qc, seen, shifts, notes = {}, {}, {}, []
    before = 0
    for row in rows:
        field = row["field"]
        qc[field] = json.loads(Path(row["qc"]).read_text(encoding="utf-8"))
        own = _nuclei(row)
        found = read_table(row["signals"])
        artefact = in_several_probes(found)
        signals.append(_placed(found[~artefact], own["cell"].to_numpy(), before))
        seen[field] = set(found["probe"].unique())
        notes += _dropped(field, artefact)
        glowing = own["cell"].isin(in_clumps(found, artefact))
        nuclei.append(own.assign(field=field, glowing=glowing))
        shifts[field] = read_notes(row["anomaly"])
        notes += [f"{field}: {note}" for note in shifts[field]]
        before += len(own)
    return SlideInputs(_stack(nuclei), _stack(signals), qc, seen, shifts, notes)


def _dropped(field: str, artefact: np.ndarray) -> list[str]:
    if not artefact.any():
        return []
    return [f"{field}: {artefact.sum()} spots shine in three or more probes and do not count"]


def _nuclei(row: Mapping[str, str]) -> pd.DataFrame:
    measured = read_table(row["measurements"])[[*MEASURED]].sort_values("cell")
    scores = read_table(row["anomaly"])
    return measured.merge(scores, on="cell", how="left", validate="one_to_one")


def _placed(found: pd.DataFrame, cells: np.ndarray, before: int) -> pd.DataFrame:
    """Replace the label under each candidate by the row of its nucleus in the slide."""
    cell = found["cell"].to_numpy()
    place = np.searchsorted(cells, cell)
    known = (cell > 0) & (place < len(cells))
    known[known] = cells[place[known]] == cell[known]
    return found.drop(columns="cell").assign(nucleus=np.where(known, place + before, -1))


def _no_rows(*columns: str) -> pd.DataFrame:
    types = {**MEASUREMENTS, **SIGNALS, **ANOMALY, "field": "string", "nucleus": "int64"}
    types["glowing"] = "bool"
    return pd.DataFrame({c: pd.Series(dtype=types[c]) for c in columns})


def _stack(frames: list[pd.DataFrame]) -> pd.DataFrame:
    """Concatenate; the first frame is empty and gives the columns and their types."""
    filled = [frame for frame in frames[1:] if len(frame)]
    if not filled:
        return frames[0]
    return pd.concat(filled, ignore_index=True)[list(frames[0].columns)].astype(frames[0].dtypes)
