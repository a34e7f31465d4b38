"""What the report reads: the manifest, the tables, and the few nuclei worth showing."""

import csv
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

ROWS = 200_000  # rows of cells.csv that are held at once
_NAMES = ("field", "slide", "patient", "nearest_reference_1", "nearest_reference_2")
_WORDS = ("call", "fish_call", "reasons")


@dataclass(frozen=True)
class Cells:
    """What one pass over ``cells.csv`` tells.

    Attributes
    ----------
    counts : DataFrame
        Indexed by field: ``nuclei, assessable, suspicious, cac``.
    ranked : DataFrame
        The assessable nuclei with the highest ``ranked_by``, highest first.
    ranked_by : str
        ``anomaly_score`` when a reference was learned, else ``anomaly_z``.
    cacs : DataFrame
        The first CACs, by total signal count, highest first.
    typical_dna : dict
        Slide to the median of ``dapi_sum`` of its nuclei.
    assessable, suspicious : dict of str to ndarray, (n, 2), float32
        Field to y and x in pixels of such nuclei of it.
    """

    counts: pd.DataFrame
    ranked: pd.DataFrame
    ranked_by: str
    cacs: pd.DataFrame
    typical_dna: Mapping[str, float]
    assessable: Mapping[str, np.ndarray]
    suspicious: Mapping[str, np.ndarray]

    def total(self, column: str) -> int:
        """Sum of a column of `counts`."""
        return int(self.counts[column].sum())


def read_rows(path: Path) -> list[dict[str, str]]:
    """Read a small table as text, exactly as it is written."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def read_json(path: str | Path) -> Any:
    """Read a JSON file."""
    return json.loads(Path(path).read_text(encoding="utf-8"))


def scan_cells(path: Path, probes: Sequence[str], top: int) -> Cells:
    """Count the nuclei and keep the most abnormal ones, reading a part at a time.

    Parameters
    ----------
    path : Path
        ``cells.csv``; may have millions of rows.
    probes : sequence of str
        Names of the probes.
    top : int
        The most nuclei to keep in each ranking.

    Returns
    -------
    Cells
        Nuclei that are not assessable are counted but never ranked. Equal
        ranks are ordered by field and label, so the result is the same always.
    """
    best = {"anomaly_score": _Best("anomaly_score", top), "anomaly_z": _Best("anomaly_z", top)}
    cacs = _Best("signals", top)
    counts, dna, has_reference = [], defaultdict(list), False
    assessable_at, suspicious_at = defaultdict(list), defaultdict(list)
    kinds = dict.fromkeys((*_NAMES, *_WORDS), "string")
    # only an empty cell is a missing value: a patient may be called NA
    missing = {"keep_default_na": False, "na_values": [""]}
    for part in pd.read_csv(path, dtype=kinds, chunksize=ROWS, **missing):
        counts.append(_count(part))
        assessable = part[part["call"] != "not_assessable"]
        # of a field unlike the reference every nucleus scores high: only those called are shown
        like = assessable["anomaly_p"].notna() | (assessable["call"] == "suspicious")
        best["anomaly_score"].add(assessable[like])
        best["anomaly_z"].add(assessable)
        _add_places(assessable_at, assessable)
        _add_places(suspicious_at, part[part["call"] == "suspicious"])
        cac = part[part["fish_call"] == "cac"]
        cacs.add(cac.assign(signals=cac[list(probes)].sum(axis=1)))
        for slide, rows in part.groupby("slide")["dapi_sum"]:
            dna[slide].append(rows.to_numpy(np.float32))
        has_reference = has_reference or bool(part["anomaly_p"].notna().any())
    ranked_by = "anomaly_score" if has_reference else "anomaly_z"
    return Cells(
        counts=pd.concat(counts).groupby(level=0, sort=False).sum(),
        ranked=best[ranked_by].rows,
        ranked_by=ranked_by,
        cacs=cacs.rows,
        typical_dna={slide: float(np.nanmedian(np.concatenate(v))) for slide, v in dna.items()},
        assessable={field: np.concatenate(v) for field, v in assessable_at.items()},
        suspicious={field: np.concatenate(v) for field, v in suspicious_at.items()},
    )


class _Best:
    """The rows with the highest values of a column among all that were added."""

    def __init__(self, column: str, top: int) -> None:
        self._column, self._top = column, top
        self.rows = pd.DataFrame(columns=["field", "cell", column])

    def add(self, rows: pd.DataFrame) -> None:
        rows = rows.dropna(subset=[self._column])
        if rows.empty:
            return
        pool = rows if self.rows.empty else pd.concat([self.rows, rows])
        order = [self._column, "field", "cell"]
        self.rows = pool.sort_values(order, ascending=[False, True, True]).head(self._top)


def _add_places(places: dict[str, list[np.ndarray]], rows: pd.DataFrame) -> None:
    for field, own in rows.groupby("field"):
        places[field].append(own[["y_px", "x_px"]].to_numpy(np.float32))


def _count(part: pd.DataFrame) -> pd.DataFrame:
    flags = pd.DataFrame(
        {
            "field": part["field"],
            "nuclei": 1,
            "assessable": (part["call"] != "not_assessable").astype(int),
            "suspicious": (part["call"] == "suspicious").astype(int),
            "cac": (part["fish_call"] == "cac").astype(int),
        }
    )
    return flags.groupby("field", sort=False).sum()
