"""What a training sees of the fields of a manifest: windows with labels and what to ignore."""

import json
import logging
import zlib
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from cellsieve.errors import UserError
from cellsieve.folds import fold_of
from cellsieve.manifest import read_manifest
from cellsieve.simulation.draws import generator
from cellsieve.stores import check_labels, open_labels, open_zip
from cellsieve.training.windows import LabelledField, Window, cut_windows

log = logging.getLogger(__name__)

WINDOWS = 600  # in memory


def cut_training_windows(
    manifest: Path | str,
    labels: str,
    seed: int,
    fold: tuple[int, int] | None = None,
    most: int = WINDOWS,
) -> dict[str, list[Window]]:
    """Cut windows out of the fields that a network learns from, of each as many if it has them.

    Parameters
    ----------
    manifest : path-like
        With the columns ``field, dapi, qc`` and ``pseudo_labels`` or ``truth``.
    labels : {"pseudo", "truth"}
        Whether to learn from pseudo-labels, or from labels that people drew, as
        an upper bound in benchmarks.
    seed : int
        Of the choice of windows.
    fold : tuple of int, optional
        ``(k, n)``: leave out the fields of fold ``k`` of ``n``.
    most : int
        Windows of all fields together, about.

    Returns
    -------
    dict of str to list of Window
        By field; a field that was rejected or has no labelled nucleus has none.

    Raises
    ------
    UserError
        When a column is missing, no field is left to learn from, or labels are
        not of their field's size.
    """
    column = "pseudo_labels" if labels == "pseudo" else "truth"
    rows = read_manifest(manifest, ("field", "dapi", "qc", column))
    if labels == "truth":
        rows = [row for row in rows if row["truth"]]
    if fold:
        folds = fold_of([row["field"] for row in rows], fold[1])
        rows = [row for row in rows if folds[row["field"]] != fold[0]]
    if not rows:
        raise UserError(f"{manifest}: no field to learn from; allowed: at least one")
    share = max(1, most // len(rows))
    windows = {}
    # of more fields than windows some are left out
    chosen = sorted(generator("fields", seed).permutation(len(rows))[:most])
    for row in (rows[i] for i in chosen):
        with ExitStack() as stack:
            field = _open(row, column, stack)
            rng = generator("windows", seed, zlib.crc32(row["field"].encode()))
            windows[row["field"]] = cut_windows(field, share, rng) if field else []
    return windows


def _open(row: Mapping[str, str], column: str, stack: ExitStack) -> LabelledField | None:
    qc = json.loads(Path(row["qc"]).read_text(encoding="utf-8"))
    if not qc["diameter_px"] or not qc["nuclear_intensity"]:
        log.warning("field %s shows no nuclei: nothing is learned from it", row["field"])
        return None
    dapi = stack.enter_context(open_zip(row["dapi"]))["dapi"]
    if column == "truth":
        labels = stack.enter_context(open_labels(row[column]))
        ignored = np.broadcast_to(False, dapi.shape)
    else:
        store = stack.enter_context(open_zip(row[column]))
        dapi, labels, ignored = store.get("painted", dapi), store["labels"], store["ignore"]
    check_labels(labels, dapi.shape, row["field"], row[column])
    return LabelledField(
        row["field"], dapi, labels, ignored, qc["diameter_px"], qc["nuclear_intensity"]
    )
