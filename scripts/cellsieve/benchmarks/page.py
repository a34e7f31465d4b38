"""The page of the benchmark of segmentation: the table, the picture, how to read them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from cellsieve.benchmarks.choices import METHODS
from cellsieve.benchmarks.segmentation_benchmark import FIGURES
from cellsieve.report.pictures import data_uri

TEMPLATE = "benchmark.html.j2"
TITLES = {"dice": "Dice", "aji": "AJI", "ap50": "AP50", "map": "mean AP", "f1": "F1"}


class Published(NamedTuple):
    """What the paper's Table 1 says of a method: Dice in per cent, seconds a frame."""

    dice: float
    seconds: float


PAPER = {
    "sam_auto": Published(52.48, 37.33),
    "sam_prompted": Published(60.03, 10.93),
    "cellpose_downloaded": Published(74.71, 21.64),
    "cellpose": Published(80.22, 27.43),
    "maskrcnn": Published(87.65, 4.19),
    "maskrcnn_human": Published(93.51, 4.19),
}


def render(table: pd.DataFrame, picture: np.ndarray, shown: Mapping[str, Any]) -> str:
    """Return the page as HTML; everything that comes from outside is escaped.

    Parameters
    ----------
    table : DataFrame
        From `cellsieve.benchmarks.segmentation_benchmark.benchmark_table`.
    picture : ndarray, (H, W, 3), uint8
        The crop under every method.
    shown : mapping
        What the picture shows: ``field`` and its corner ``y, x`` and size ``height,
        width`` in pixels.
    """
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parents[1] / "report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(percent=percent, seconds=seconds)
    return environment.get_template(TEMPLATE).render(
        rows=table.to_dict("records"),
        methods=METHODS,
        figures={name: TITLES[name] for name in FIGURES},
        paper=PAPER,
        picture=data_uri(picture),
        shown=shown,
    )


def percent(row: Mapping[str, Any], figure: str) -> str:
    """Show a figure of a row of the table in per cent, with its interval; – for what is missing."""
    value, low, high = (100 * row[f"{figure}{end}"] for end in ("", "_low", "_high"))
    if np.isnan(value):
        return "–"
    return f"{value:.1f}" if np.isnan(low) else f"{value:.1f} ({low:.1f}–{high:.1f})"


def seconds(value: float) -> str:
    """Show a time with three digits."""
    return f"{value:.3g}" if value < 1000 else f"{value:.0f}"
