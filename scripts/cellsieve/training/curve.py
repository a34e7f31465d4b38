"""The curve of a training: a table that grows, and a picture of it."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from cellsieve.files import atomic

COLUMNS = ("step", "loss", "iou", "validation_iou")


def write_curve(rows: Sequence[Sequence[float]], table: Path | str, picture: Path | str) -> None:
    """Write the rows, of `COLUMNS`, as CSV and as a picture.

    Parameters
    ----------
    rows : sequence of sequence of float
        Means since the row before; the validation at the row's step.
    table, picture : path-like
        ``.csv`` and ``.png``, written atomically.
    """
    from matplotlib.figure import Figure

    frame = pd.DataFrame(rows, columns=list(COLUMNS))
    with atomic(table) as part:
        frame.to_csv(part, index=False, float_format="%.5g")
    figure = Figure(figsize=(7, 4), layout="constrained")
    left = figure.subplots()
    right = left.twinx()
    left.plot(frame["step"], frame["loss"], color="0.5", label="loss")
    right.plot(frame["step"], frame["iou"], label="IoU, best mask, training")
    right.plot(frame["step"], frame["validation_iou"], label="IoU, chosen mask, validation")
    left.set(xlabel="step", ylabel="loss")
    right.set(ylabel="IoU", ylim=(0.5, 1))
    figure.legend(loc="outside upper center", ncols=3)
    with atomic(picture) as part:
        figure.savefig(part)
