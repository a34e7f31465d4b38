"""Put the tables of a run together: cells, fields, slides and patients, each with its schema.

Every row of the sheet is in fields.csv, whatever became of the field. What
cannot be had is empty. Nuclei of one patient are not independent, so the
intervals of the rates are too narrow where slides differ.
"""

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path

from cellsieve.cli import existing_file, parser, positive, run, whole
from cellsieve.errors import UserError

log = logging.getLogger("aggregate")

NUMBERS = "%.6g"


def main(argv: Sequence[str] | None = None) -> None:
    """Read the arguments, write the four tables and what their columns mean."""
    args = _arguments(argv)
    import pandas as pd

    from cellsieve.aggregation import fields_table, join_tables, slide_volumes, totals_table
    from cellsieve.files import atomic, write_json
    from cellsieve.fish.false_cacs import Rule, error_rate
    from cellsieve.manifest import read_manifest
    from cellsieve.table_schema import table_schema

    needed = ("field", "slide", "patient", "reference", "volume_ul")
    needed += ("qc", "anomaly", "cells", "slide_summary")
    rows = read_manifest(args.fields, needed)
    if not rows:
        raise UserError(f"{args.fields}: no fields")
    with atomic(args.cells) as part:
        written = join_tables([row["cells"] for row in rows], part)
    log.info("%s: %d bytes of rows from %d fields", args.cells, written, len(rows))
    fields = fields_table(rows)
    normal = fields[[row["reference"] == "yes" for row in rows]].dropna(subset="cac")
    rule = Rule(args.probes, args.min_gain_probes, args.split_diameters)
    errors = error_rate(normal.to_dict("records"), args.simulated_false_cac, rule)
    if errors:
        log.info("false CACs: %d of %d normal nuclei, %s", *errors)
    else:
        log.warning("the rate of false CACs is unknown: no patient can be aberrant")
    about = slide_volumes(rows), errors, args.min_cac, args.min_assessable
    for path, table in (
        (args.fields_table, fields),
        (args.slides, totals_table(fields, "slide", *about)),
        (args.patients, totals_table(fields, "patient", *about)),
    ):
        with atomic(path) as part:
            table.to_csv(part, index=False, float_format=NUMBERS, lineterminator="\n")
        log.info("%s: %d rows", path, len(table))
    for path in (args.cells, args.fields_table, args.slides, args.patients):
        columns = pd.read_csv(path, nrows=0).columns
        write_json(path.with_suffix(".schema.json"), table_schema(columns))


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    p = parser(__doc__)
    p.add_argument(
        "--fields",
        type=existing_file,
        required=True,
        help="all fields of the sheet (TSV): its columns and qc, anomaly, cells, slide_summary",
    )
    p.add_argument(
        "--simulated-false-cac",
        type=existing_file,
        required=True,
        help="false CACs among simulated normal nuclei (JSON), for runs without a large reference",
    )
    p.add_argument("--cells", type=Path, required=True, help="nuclei, to write (CSV)")
    p.add_argument("--fields-table", type=Path, required=True, help="fields, to write (CSV)")
    p.add_argument("--slides", type=Path, required=True, help="slides, to write (CSV)")
    p.add_argument("--patients", type=Path, required=True, help="patients, to write (CSV)")
    p.add_argument("--probes", type=whole, required=True, help="how many there are")
    options = p.add_argument_group("options of section calls, as for call_slide.py")
    options.add_argument(
        "--min-cac", type=positive, default=3, help="CACs without which no patient is aberrant"
    )
    options.add_argument(
        "--min-assessable",
        type=positive,
        default=1000,
        help="nuclei assessed for CACs without which no patient has none found",
    )
    options.add_argument("--min-gain-probes", type=positive, default=2)
    options.add_argument("--split-diameters", type=float, default=1.5)
    return p.parse_args(argv)


if __name__ == "__main__":
    run(main)
