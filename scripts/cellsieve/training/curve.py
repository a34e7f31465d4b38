"""The curve of a training: a table that grows, and a picture of it."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from cellsieve.files import atomic


def write_curve(
    rows: Sequence[Sequence[float]],
    columns: Sequence[str],
    table: Path | str,
    picture: Path | str,
) -> None:
    """Write the rows as CSV and as a picture.

    Parameters
    ----------
    rows : sequence of sequence of float
        Means since the row before; the validation at the row's step.
    columns : sequence of str
        Four names: the step, the loss, a figure of the training and one of the
        validation.
    table, picture : path-like
        ``.csv`` and ``.png``, written atomically.
    """
    from matplotlib.figure import Figure

    frame = pd.DataFrame(rows, columns=list(columns))
    with atomic(table) as part:
        frame.to_csv(part, index=False, float_format="%.5g")
    figure = Figure(figsize=(7, 6), layout="constrained")
    step, *others = columns
    for axes, name in zip(figure.subplots(3, sharex=True), others, strict=True):
        axes.plot(frame[step], frame[name], marker=".")
        axes.set(ylabel=name.replace("_", " "))
    axes.set(xlabel=step)
    with atomic(picture) as part:
        figure.savefig(part)
