"""Put the tables of a run together: cells, fields, slides and patients.

Every row of the sheet is in fields.csv, whatever became of the field. What
cannot be had is empty. Nuclei of one patient are not independent, so the
intervals of the rates are too narrow where slides differ.
"""

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path

from cellsieve.cli import existing_file, parser, run
from cellsieve.errors import UserError

log = logging.getLogger("aggregate")

NUMBERS = "%.6g"


def main(argv: Sequence[str] | None = None) -> None:
    """Read the arguments, write the four tables."""
    args = _arguments(argv)
    from cellsieve.aggregation import fields_table, join_tables, totals_table
    from cellsieve.files import atomic
    from cellsieve.manifest import read_manifest

    needed = ("field", "slide", "patient", "qc", "anomaly", "cells", "slide_summary")
    rows = read_manifest(args.fields, needed)
    if not rows:
        raise UserError(f"{args.fields}: no fields")
    with atomic(args.cells) as part:
        written = join_tables([row["cells"] for row in rows], part)
    log.info("%s: %d bytes of rows from %d fields", args.cells, written, len(rows))
    fields = fields_table(rows)
    for path, table in (
        (args.fields_table, fields),
        (args.slides, totals_table(fields, "slide")),
        (args.patients, totals_table(fields, "patient")),
    ):
        with atomic(path) as part:
            table.to_csv(part, index=False, float_format=NUMBERS, lineterminator="\n")
        log.info("%s: %d rows", path, len(table))


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    p = parser(__doc__)
    p.add_argument(
        "--fields",
        type=existing_file,
        required=True,
        help="all fields of the sheet (TSV): its columns and qc, anomaly, cells, slide_summary",
    )
    p.add_argument("--cells", type=Path, required=True, help="nuclei, to write (CSV)")
    p.add_argument("--fields-table", type=Path, required=True, help="fields, to write (CSV)")
    p.add_argument("--slides", type=Path, required=True, help="slides, to write (CSV)")
    p.add_argument("--patients", type=Path, required=True, help="patients, to write (CSV)")
    return p.parse_args(argv)


if __name__ == "__main__":
    run(main)
