"""The calls of a slide: one row a nucleus, each withheld or unusual call with its reasons."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from cellsieve.calling.anomaly_calls import AnomalyCalls, Limits, call_anomalies
from cellsieve.calling.multiple_testing import rarest_callable
from cellsieve.calling.slide_inputs import MEASURED, SlideInputs
from cellsieve.cell_table import call_columns
from cellsieve.fish.fish_calls import FishCalls, call_fish, changed_probes
from cellsieve.fish.signal_counts import Nuclei, ProbeCounts, count_probe
from cellsieve.wholeness import judge_wholeness, looks_covered, looks_doubled, may_be_two

_TEXTS = ("field", "slide", "nearest_reference_1", "nearest_reference_2", "call")
_ENDS = ("fish_call", "reasons")
# share of an outline that lies against other nuclei; beyond it signals of both may be mixed
CONTACT = 0.1


class CallOptions(NamedTuple):
    """Options of section ``calls``.

    Attributes
    ----------
    limits : Limits
        From where on nuclei are suspicious.
    min_gain_probes : int
        Gains that make a CAC.
    split_diameters : float
        See `count_probe`.
    """

    limits: Limits
    min_gain_probes: int
    split_diameters: float


class SlideCalls(NamedTuple):
    """The calls of a slide and what they rest on.

    Attributes
    ----------
    table : DataFrame
        With the columns of `call_columns`.
    alone : ndarray, (n,), bool
        Nuclei that do not touch the border, overlap no other, are no fragment, lie against
        no other and under nothing: their signals are theirs.
    anomalies : AnomalyCalls
    probes : dict of str to ProbeCounts
    fish : FishCalls
    """

    table: pd.DataFrame
    alone: np.ndarray
    anomalies: AnomalyCalls
    probes: dict[str, ProbeCounts]
    fish: FishCalls


def call_slide(
    slide: str,
    found: SlideInputs,
    probes: Sequence[str],
    options: CallOptions,
    n_calibration: int | None = None,
) -> SlideCalls:
    """Call every nucleus of a slide.

    Parameters
    ----------
    slide : str
    found : SlideInputs
    probes : sequence of str
        In the order of the configuration.
    options : CallOptions
    n_calibration : int, optional
        Reference nuclei that the p-values were had from.
    """
    nuclei = found.nuclei
    whole, fragment = judge_wholeness(nuclei)
    anomalies = call_anomalies(nuclei, whole, options.limits)
    presumed_normal = anomalies.call != "suspicious"
    mixed = _mixed_signals(nuclei, whole)
    alone = whole & (mixed == "")
    area = nuclei["area_px"].to_numpy(np.float64)
    counted = {}
    for probe in probes:
        spots = found.signals[found.signals["probe"] == probe]
        where = Nuclei(area, found.readable(probe), alone, presumed_normal)
        counted[probe] = count_probe(spots, where, options.split_diameters, found.outside_px(probe))
    fish = call_fish(
        counted,
        alone,
        doubled=looks_doubled(nuclei, alone),
        maybe_two=may_be_two(nuclei, alone),
        min_gain_probes=options.min_gain_probes,
    )
    reasons = _Reasons(len(nuclei))
    _explain_nucleus(reasons, found)
    reasons.add(fragment, "fragment or debris: under a third of the slide's median area")
    _explain_anomaly(reasons, nuclei, whole, anomalies, n_calibration)
    if probes:
        reasons.add(whole & ~alone, mixed)
        _explain_fish(reasons, alone, fish)
    table = nuclei.drop(columns=[*MEASURED[1:], "glowing"]).assign(
        slide=slide,
        anomaly_z=anomalies.z,
        anomaly_q=anomalies.q,
        call=anomalies.call,
        fish_call=fish.call,
        reasons=reasons.texts,
        **{probe: pd.array(counts, dtype="Int64") for probe, counts in fish.counts.items()},
        **{f"{probe}_state": states for probe, states in fish.states.items()},
    )
    return SlideCalls(table[call_columns(probes)], alone, anomalies, counted, fish)


def call_types(probes: Sequence[str]) -> dict[str, str]:
    """Columns and pandas dtypes of ``calls.parquet``."""
    types = dict.fromkeys(call_columns(probes), "float64")
    types |= dict.fromkeys([*_TEXTS, *_ENDS, *(f"{probe}_state" for probe in probes)], "string")
    return types | dict.fromkeys(probes, "Int64") | {"cell": "int64"}


class _Reasons:
    """Texts of all nuclei that grow sentence by sentence."""

    def __init__(self, n: int):
        self.texts = np.full(n, "", object)

    def add(self, where: np.ndarray, text: str | np.ndarray) -> None:
        """Append a text, or each nucleus' own, where ``where`` holds."""
        new = text[where] if isinstance(text, np.ndarray) else text
        old = self.texts[where]
        self.texts[where] = np.where(old == "", new, old + "; " + new)


def _explain_nucleus(reasons: _Reasons, found: SlideInputs) -> None:
    reasons.add(found.nuclei["touches_border"].to_numpy(bool), "touches the border")
    reasons.add(found.nuclei["overlapping"].to_numpy(bool), "overlaps another nucleus")
    for field, qc in found.qc.items():
        if faults := qc["reasons"] + found.shifts[field]:
            there = (found.nuclei["field"] == field).to_numpy(bool)
            reasons.add(there, f"field: {', '.join(faults)}")


def _explain_anomaly(
    reasons: _Reasons,
    nuclei: pd.DataFrame,
    whole: np.ndarray,
    anomalies: AnomalyCalls,
    n_calibration: int | None,
) -> None:
    """Say why a nucleus is suspicious, cannot be, or was not looked at."""
    suspicious = anomalies.call == "suspicious"
    silent = whole & (anomalies.call == "not_assessable")
    scored = nuclei["anomaly_score"].notna().to_numpy(bool)
    reasons.add(silent & ~scored, "no anomaly score")
    if anomalies.called_by is None:
        reasons.add(silent & scored, "scores of too few nuclei, or too alike, to call any")
        return
    reasons.add(silent & scored, "no q: the field is unlike the reference")
    why = "unlike the reference" if n_calibration else "no reference"
    said = {
        "q": [f"anomaly_q {v:.2g}" for v in anomalies.q],
        "z": [f"anomaly_z {v:.1f} ({why}: ranked by anomaly_z)" for v in anomalies.z],
        "dynamic": [
            f"anomaly_score {v:.2f}, dynamic threshold {anomalies.limit:.2f}"
            for v in nuclei["anomaly_score"]
        ],
    }
    reasons.add(suspicious, np.array(said[anomalies.called_by], object))
    if anomalies.called_by == "q" and n_calibration:
        least = nuclei["anomaly_p"].to_numpy(np.float64) <= 1 / (n_calibration + 1) + 1e-12
        held = least & (anomalies.call == "normal")
        rarest = rarest_callable(n_calibration, anomalies.limit)
        what = f"less than {rarest:.2%} of a slide" if rarest <= 1 else "any"
        few = f"beyond all {n_calibration} calibration nuclei, which are too few to call {what}"
        reasons.add(held, few)


def _mixed_signals(nuclei: pd.DataFrame, whole: np.ndarray) -> np.ndarray:
    """Say why signals of a whole nucleus may not be its own, (n,) object; "" where they are."""
    mixed = np.full(len(nuclei), "", object)
    mixed[looks_covered(nuclei, whole)] = "a part is too bright: something may lie over it"
    mixed[nuclei["glowing"].to_numpy(bool)] = "a clump on it glows in several probes"
    mixed[(nuclei["contact"] > CONTACT).to_numpy(bool)] = "touches another nucleus"
    return np.where(mixed == "", mixed, "signals not judged: " + mixed)


def _explain_fish(reasons: _Reasons, alone: np.ndarray, fish: FishCalls) -> None:
    unknown = alone & (fish.call == "not_assessable") & (fish.doubt == "")
    reasons.add(unknown, "no probe can be judged")
    reasons.add(fish.doubt != "", fish.doubt)
    for state in ("gain", "loss"):
        names = changed_probes(fish.states, state)
        reasons.add(names != "", f"{state} in " + names)
