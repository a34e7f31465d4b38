"""Export one field for other programs: cells.csv, cells.geojson (QuPath) and an OME-Zarr.

Of a field that was rejected or holds no nucleus the files are there as well,
valid and empty.
"""

import argparse
import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cellsieve.cli import add_channel_options, existing_file, parser, run

NUMBERS = "%.9g"  # a thousandth of a pixel on the largest slides

log = logging.getLogger("export_field")


def main(argv: Sequence[str] | None = None) -> None:
    """Read the arguments, export the field."""
    args = _arguments(argv)
    from cellsieve.exports.geojson import write_geojson
    from cellsieve.exports.ome_zarr_export import write_field
    from cellsieve.files import atomic
    from cellsieve.images import parse_channels
    from cellsieve.stores import open_labels, open_zip

    qc = json.loads(args.qc.read_text(encoding="utf-8"))
    channels = parse_channels(args.channel)
    cells = _cells(args, probes=list(channels)[1:])
    with atomic(args.cells) as part:
        cells.to_csv(part, index=False, float_format=NUMBERS, lineterminator="\n")
    log.info("%s: %d nuclei, status %s", args.field, len(cells), qc["status"])
    with open_labels(args.nuclei) as labels, open_zip(args.anomaly_map) as scores:
        write_geojson(args.geojson, labels, cells)
        log.info("outlines written; the OME-Zarr follows")
        with _planes(args, channels, qc) as planes, atomic(args.ome_zarr) as folder:
            write_field(
                folder,
                args.field,
                planes,
                labels,
                pixel_size_um=qc["pixel_size_um"],
                anomaly_map=(scores["map"], int(scores.attrs["scale"])),
            )


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    p = parser(__doc__)
    p.add_argument("--field", required=True, help="name of the field")
    p.add_argument("--slide", required=True, help="name of its slide")
    p.add_argument("--patient", default="", help="name of its patient; empty if not known")
    p.add_argument("--image", required=True, help="image file, or a pattern with {channel}")
    add_channel_options(p)
    p.add_argument("--qc", type=existing_file, required=True, help="qc.json of the field")
    p.add_argument("--nuclei", type=existing_file, required=True, help="label image")
    p.add_argument("--measurements", type=existing_file, required=True, help="measurements.parquet")
    p.add_argument("--calls", type=existing_file, required=True, help="calls of the slide")
    p.add_argument("--anomaly-map", type=existing_file, required=True, help="anomaly_map.zarr.zip")
    p.add_argument("--cells", type=Path, required=True, help="table to write (CSV)")
    p.add_argument("--geojson", type=Path, required=True, help="outlines to write (GeoJSON)")
    p.add_argument("--ome-zarr", type=Path, required=True, help="folder to write (OME-Zarr 0.4)")
    return p.parse_args(argv)


def _cells(args: argparse.Namespace, probes: Sequence[str]) -> Any:
    """Return the field's rows of cells.csv; only its own calls are read."""
    import pandas as pd

    from cellsieve.cell_table import cell_table
    from cellsieve.tables import read_table

    calls = pd.read_parquet(args.calls, filters=[("field", "==", args.field)])
    measurements = read_table(args.measurements)
    patient = args.patient or None
    return cell_table(args.field, args.slide, patient, measurements, calls, probes=probes)


@contextmanager
def _planes(
    args: argparse.Namespace, channels: Mapping[str, str], qc: Mapping[str, Any]
) -> Iterator[dict[str, Any]]:
    """Open the field's usable channels; one black pixel a channel when it was rejected."""
    import numpy as np

    from cellsieve.images import open_field

    if qc["status"] == "rejected":
        yield {role: np.zeros((1, 1), np.uint8) for role in channels}
        return
    with open_field(args.image, channels, args.projection) as field:
        yield {role: field.plane(role) for role in channels if role in qc["channels"]}


if __name__ == "__main__":
    run(main)
