"""The list of fields that is handed to a stage: the sheet's columns and the paths it needs."""

import csv
from collections.abc import Sequence
from pathlib import Path

from cellsieve.errors import UserError


def read_manifest(path: Path | str, required: Sequence[str]) -> list[dict[str, str]]:
    """Read a manifest: tab separated, one row a field.

    Parameters
    ----------
    path : path-like
    required : sequence of str
        Columns that the stage cannot do without.

    Returns
    -------
    list of dict of str to str
        In the order of the sheet; an empty cell is ``""``, and no text is
        taken for a missing value (a patient may be called NA).

    Raises
    ------
    UserError
        When columns are missing, a row has another number of cells, or there is
        none.
    """
    with Path(path).open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file, delimiter="\t"))
    header = rows[0] if rows else []
    if missing := [name for name in required if name not in header]:
        raise UserError(f"{path}: no column {', '.join(missing)}; it has {', '.join(header)}")
    for number, row in enumerate(rows[1:], start=2):
        if len(row) != len(header):
            raise UserError(f"{path}, row {number}: {len(row)} cells for {len(header)} columns")
    if len(rows) < 2:
        raise UserError(f"{path}: no rows; allowed: at least one field")
    return [dict(zip(header, row, strict=True)) for row in rows[1:]]
