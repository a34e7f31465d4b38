"""Write a first sheet of fields from a folder of images.

The sheet goes to standard output: python scripts/make_sheet.py FOLDER > fields.tsv.
Paths in it begin as FOLDER was given, so write the sheet where you are. What was left out or
inferred, and a proposal for the section "channels" of config.yaml, go to standard error.
"""

import csv
import sys
from collections.abc import Sequence
from pathlib import Path

from cellsieve.cli import parser, run

COLUMNS = ("field", "image", "slide")


def main(argv: Sequence[str] | None = None) -> None:
    """Read the command line, look through the folder and print the sheet."""
    arguments = parser(__doc__)
    arguments.add_argument("folder", type=Path, help="searched with its subfolders")
    options = arguments.parse_args(argv)

    from cellsieve.planning.folder_scan import propose_channels, scan

    rows, remarks = scan(options.folder)
    sheet = csv.writer(sys.stdout, delimiter="\t", lineterminator="\n")
    sheet.writerow(COLUMNS)
    sheet.writerows([getattr(row, column) for column in COLUMNS] for row in rows)
    print(*remarks, *propose_channels(rows), sep="\n", file=sys.stderr)


if __name__ == "__main__":
    run(main)
