"""Measure every nucleus of one field: place, size, form, DNA content, situation."""

import json
import logging
from collections.abc import Sequence
from pathlib import Path

from cellsieve.cli import parser, run

log = logging.getLogger("measure")


def main(argv: Sequence[str] | None = None) -> None:
    """Read a field's DAPI plane and labels; write one row a nucleus."""
    options = parser(__doc__)
    options.add_argument("--dapi", required=True, help=".zarr.zip of preprocess.py")
    options.add_argument("--qc", required=True, help=".json of preprocess.py")
    options.add_argument("--nuclei", required=True, help="label image of segment.py")
    options.add_argument("--measurements", required=True, help="output, .parquet")
    args = options.parse_args(argv)

    from cellsieve.measurement import measure_nuclei
    from cellsieve.stores import open_labels, open_zip
    from cellsieve.tables import MEASUREMENTS, write_table

    qc = json.loads(Path(args.qc).read_text(encoding="utf-8"))
    with open_zip(args.dapi) as store, open_labels(args.nuclei) as nuclei:
        table = measure_nuclei(store["dapi"], nuclei, qc["pixel_size_um"])
    write_table(args.measurements, table, MEASUREMENTS)
    log.info("%d nuclei measured", len(table))


if __name__ == "__main__":
    run(main)
