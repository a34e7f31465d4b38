"""The fields of a manifest as a training sees them: pixels, labels and what to ignore."""

import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np

from cellsieve.errors import UserError
from cellsieve.folds import fold_of
from cellsieve.manifest import read_manifest
from cellsieve.stores import open_labels, open_zip
from cellsieve.training.windows import LabelledField

log = logging.getLogger(__name__)


@contextmanager
def open_training_fields(
    manifest: Path | str, labels: str, fold: tuple[int, int] | None = None
) -> Iterator[list[LabelledField]]:
    """Open the fields that a network learns from.

    Parameters
    ----------
    manifest : path-like
        With the columns ``field, dapi, qc`` and ``pseudo_labels`` or ``truth``.
    labels : {"pseudo", "truth"}
        Whether to learn from pseudo-labels, or from labels that people drew, as
        an upper bound in benchmarks.
    fold : tuple of int, optional
        ``(k, n)``: leave out the fields of fold ``k`` of ``n``.

    Yields
    ------
    list of LabelledField
        Without the fields that were rejected or show no nucleus.

    Raises
    ------
    UserError
        When a column is missing or a truth is not of its field's size.
    """
    column = "pseudo_labels" if labels == "pseudo" else "truth"
    rows = read_manifest(manifest, ("field", "dapi", "qc", column))
    if labels == "truth":
        rows = [row for row in rows if row["truth"]]
    if fold:
        folds = fold_of([row["field"] for row in rows], fold[1])
        rows = [row for row in rows if folds[row["field"]] != fold[0]]
    with ExitStack() as stack:
        opened = [_open(row, column, stack) for row in rows]
        yield [field for field in opened if field is not None]


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
    if labels.shape != dapi.shape:
        raise UserError(f"{row[column]}: not of the size of field {row['field']}")
    return LabelledField(
        row["field"], dapi, labels, ignored, qc["diameter_px"], qc["nuclear_intensity"]
    )
