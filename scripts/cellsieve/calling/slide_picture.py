"""A picture to judge a slide's thresholds by: contrasts and counts, probe by probe."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

from cellsieve.files import atomic
from cellsieve.fish.signal_counts import MOST_SHOWN, NORMAL_COUNT, ProbeCounts, count_histogram

BINS = 60
BLUE, GREY, RED = "#2a6fb0", "#9a9a9a", "#c43c2c"


def draw_slide(
    path: Path | str,
    signals: pd.DataFrame,
    probes: Mapping[str, ProbeCounts],
    counts: Mapping[str, np.ndarray],
    alone: np.ndarray,
) -> None:
    """Write the picture of a slide's signals as PNG, atomically.

    Parameters
    ----------
    path : path-like
    signals : DataFrame
        Candidates of the slide: ``probe, nucleus, contrast``.
    probes : mapping of str to ProbeCounts
    counts : mapping of str to ndarray, (n,), float
        Signals of each nucleus.
    alone : ndarray, (n,), bool
        Nuclei whose counts are shown.
    """
    figure = Figure(figsize=(9, 2.4 * max(len(probes), 1)), layout="constrained", dpi=100)
    if probes:
        axes = figure.subplots(len(probes), 2, squeeze=False, width_ratios=(3, 2))
        for (left, right), (probe, counted) in zip(axes, probes.items(), strict=True):
            _contrasts(left, signals[signals["probe"] == probe], counted)
            left.set_title(f"{probe}: {counted.status} {counted.reason}", loc="left", fontsize=9)
            _counts(right, counts[probe][alone])
        axes[-1][0].set_xlabel("contrast (noise standard deviations)")
        axes[-1][1].set_xlabel("signals in a nucleus")
    else:
        figure.text(0.5, 0.5, "no probes", ha="center")
    with atomic(path) as part:
        figure.savefig(part, metadata={"Software": None})


def _contrasts(axes, spots: pd.DataFrame, counted: ProbeCounts) -> None:
    inside = spots.loc[spots["nucleus"] >= 0, "contrast"]
    outside = spots.loc[spots["nucleus"] < 0, "contrast"]
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_ylabel("candidates")
    if inside.empty:
        return
    bins = np.geomspace(spots["contrast"].min(), spots["contrast"].max() * 1.01, BINS)
    axes.hist(outside, bins, color=GREY, histtype="step", label="outside nuclei")
    axes.hist(inside, bins, color=BLUE, alpha=0.7, label="in nuclei")
    axes.set_yscale("symlog", linthresh=1)
    if counted.threshold is not None:
        axes.axvline(counted.threshold, color=RED, label=f"threshold {counted.threshold:.3g}")
    axes.legend(fontsize=7, frameon=False)


def _counts(axes, counts: np.ndarray) -> None:
    nuclei = count_histogram(counts)
    colours = [BLUE if n == NORMAL_COUNT else GREY for n in range(len(nuclei))]
    axes.bar(range(len(nuclei)), nuclei, color=colours)
    labels = [*(str(n) for n in range(MOST_SHOWN)), f"≥{MOST_SHOWN}"]
    axes.set_xticks(range(len(nuclei)), labels)
    axes.set_ylabel("nuclei")
