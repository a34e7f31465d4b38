"""The summary of a slide, ``slide.json``: counts, rates, thresholds and what to know."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from cellsieve.calling.calls import SlideCalls
from cellsieve.calling.intervals import rate
from cellsieve.calling.multiple_testing import rarest_callable
from cellsieve.calling.slide_inputs import SlideInputs
from cellsieve.fish.signal_counts import ProbeCounts, count_histogram

COUNTED = ("nuclei", "assessable", "assessable_fish", "assessable_cac", "suspicious", "cac")


def summarise(
    slide: str,
    patient: str | None,
    found: SlideInputs,
    calls: SlideCalls,
    *,
    n_calibration: int | None = None,
) -> dict[str, Any]:
    """Sum a slide up.

    Parameters
    ----------
    slide : str
    patient : str or None
    found : SlideInputs
    calls : SlideCalls
        Of the same nuclei.
    n_calibration : int, optional
        Reference nuclei that the p-values were had from.

    Returns
    -------
    dict
        Ready for JSON; what cannot be had is None.
    """
    totals = _tally(calls, np.ones(len(calls.table), bool))
    fields = {
        field: {
            "status": qc["status"],
            "reasons": qc["reasons"],
            **_tally(calls, (calls.table["field"] == field).to_numpy(bool)),
        }
        for field, qc in found.qc.items()
    }
    anomaly = _anomaly(calls, n_calibration)
    return {
        "slide": slide,
        "patient": patient,
        **totals,
        "suspicious_rate": rate(totals["suspicious"], totals["assessable"]),
        "cac_rate": rate(totals["cac"], totals["assessable_cac"]),
        "fields": fields,
        "anomaly": anomaly,
        "probes": {
            name: _probe(name, c, calls.fish.counts[name], found)
            for name, c in calls.probes.items()
        },
        "notes": _notes(calls, anomaly) + found.notes,
    }


def _tally(calls: SlideCalls, where: np.ndarray) -> dict[str, int]:
    part = calls.table[where]
    return {
        "nuclei": len(part),
        "assessable": int((part["call"] != "not_assessable").sum()),
        "assessable_fish": int((part["fish_call"] != "not_assessable").sum()),
        "assessable_cac": int(calls.fish.decidable[where].sum()),
        "suspicious": int((part["call"] == "suspicious").sum()),
        "cac": int((part["fish_call"] == "cac").sum()),
    }


def _anomaly(calls: SlideCalls, n_calibration: int | None) -> dict[str, Any]:
    called_by, limit = calls.anomalies.called_by, calls.anomalies.limit
    rarest = rarest_callable(n_calibration, limit) if n_calibration and called_by == "q" else None
    return {
        "called_by": called_by,
        "limit": limit,
        "calibration_nuclei": n_calibration,
        "rarest_callable_fraction": rarest,
    }


def _probe(
    name: str, counted: ProbeCounts, counts: np.ndarray, found: SlideInputs
) -> dict[str, Any]:
    return {
        "status": counted.status,
        "reason": counted.reason,
        "threshold": counted.threshold,
        "split_px": counted.split_px,
        "share_of_two": counted.share_of_two,
        "nuclei_by_count": count_histogram(counts).tolist(),
        "signals_outside": counted.outside,
        "background_per_nucleus": _background(name, counted, found),
    }


def _background(name: str, counted: ProbeCounts, found: SlideInputs) -> float | None:
    """Signals to expect by chance in a nucleus, from their density outside nuclei."""
    areas, empty = found.nuclei["area_px"][counted.readable], found.outside_px(name)
    if not len(areas) or empty <= 0:
        return None
    return counted.outside / empty * float(areas.median())


def _notes(calls: SlideCalls, anomaly: Mapping[str, Any]) -> list[str]:
    notes = [
        f"{probe} {counted.status}: {counted.reason}"
        for probe, counted in calls.probes.items()
        if counted.reason
    ]
    return notes + _anomaly_notes(anomaly) if len(calls.table) else notes


def _anomaly_notes(anomaly: Mapping[str, Any]) -> list[str]:
    """Say what the calls of a slide that has nuclei rest on."""
    called_by, limit = anomaly["called_by"], anomaly["limit"]
    n, rarest = anomaly["calibration_nuclei"], anomaly["rarest_callable_fraction"]
    if called_by is None:
        return ["no anomaly scores that can be compared: nothing is called suspicious or normal"]
    if called_by == "z":
        why = "no field is like the reference" if n else "no reference"
        return [
            f"{why}: nuclei are ranked by anomaly_z, those at or above {limit:g} are called"
            " suspicious, and no error rate is known"
        ]
    if called_by == "dynamic":
        return [
            f"dynamic threshold: nuclei with an anomaly_score of at least {limit:.2f} are called"
            " suspicious, and no error rate is known"
        ]
    if rarest is None:
        return []
    if rarest > 1:
        return [
            f"{n} calibration nuclei are too few to call any nucleus at q {limit:g};"
            f" at least {math.ceil(1 / limit) - 1} are needed"
        ]
    return [
        f"{n} calibration nuclei: at q {limit:g} suspicious nuclei can be called from"
        f" {rarest:.2%} of the slide on"
    ]
