"""Call the nuclei of one slide: signal counts and states, anomaly q, suspicious and CAC.

The threshold of each probe is found from the slide's own candidates and checked:
most presumed normal nuclei must show two signals, else the probe is failed and
not called. Without a reference (no anomaly_p) nuclei are ranked by anomaly_z.
"""

import argparse
import json
import logging
from collections.abc import Sequence
from pathlib import Path

from cellsieve.cli import existing_file, parser, run
from cellsieve.errors import UserError

log = logging.getLogger("call_slide")


def main(argv: Sequence[str] | None = None) -> None:
    """Read the arguments, call the slide, write table, summary and picture."""
    args = _arguments(argv)
    from cellsieve.calling.anomaly_calls import Limits
    from cellsieve.calling.calls import CallOptions, call_slide, call_types
    from cellsieve.calling.slide_inputs import read_slide
    from cellsieve.calling.slide_picture import draw_slide
    from cellsieve.calling.slide_summary import summarise
    from cellsieve.files import write_json
    from cellsieve.tables import write_table

    slide, patient, rows = _slide(args.fields)
    limits = Limits(args.threshold, args.q, args.z)
    options = CallOptions(limits, args.min_gain_probes, args.split_diameters)
    reference = json.loads(args.reference.read_text(encoding="utf-8")) if args.reference else {}
    n_calibration = reference.get("calibration") or None
    found = read_slide(rows)
    log.info("%s: %d fields, %d nuclei", slide, len(rows), len(found.nuclei))
    calls = call_slide(slide, found, args.probe, options, n_calibration)
    summary = summarise(slide, patient, found, calls, n_calibration=n_calibration)
    summary["notes"] += reference.get("notes", [])
    for note in summary["notes"]:
        log.info("%s", note)
    log.info("%d suspicious, %d CACs", summary["suspicious"], summary["cac"])
    write_table(args.calls, calls.table, call_types(args.probe))
    draw_slide(args.picture, found.signals, calls.probes, calls.fish.counts, calls.alone)
    write_json(args.summary, summary)


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    p = parser(__doc__)
    p.add_argument(
        "--fields",
        type=existing_file,
        required=True,
        help="the slide's fields (TSV): field, slide, patient, qc, measurements, signals, anomaly",
    )
    p.add_argument("--probe", action="append", default=[], help="name of a probe; repeat")
    p.add_argument("--reference", type=existing_file, help="record.json of the reference model")
    p.add_argument("--calls", type=Path, required=True, help="table to write (Parquet)")
    p.add_argument("--summary", type=Path, required=True, help="summary to write (JSON)")
    p.add_argument("--picture", type=Path, required=True, help="picture to write (PNG)")
    options = p.add_argument_group("options of section calls")
    options.add_argument(
        "--threshold",
        choices=["conformal", "dynamic"],
        default="conformal",
        help="what suspicious rests on: q from the reference, or the slide's own scores",
    )
    options.add_argument(
        "--q", type=float, default=0.1, help="false discovery rate of suspicious nuclei"
    )
    options.add_argument(
        "--z", type=float, default=5.0, help="anomaly_z of suspicious nuclei without a reference"
    )
    options.add_argument(
        "--min-gain-probes", type=int, default=2, help="probes with a gain that make a CAC"
    )
    options.add_argument(
        "--split-diameters",
        type=float,
        default=1.5,
        help="signals whose centres are within so many signal diameters count once",
    )
    args = p.parse_args(argv)
    if args.min_gain_probes < 1:
        raise UserError(f"--min-gain-probes {args.min_gain_probes}: at least 1")
    return args


def _slide(path: Path) -> tuple[str, str | None, list[dict[str, str]]]:
    """Return the one slide of a manifest, its patient and its rows."""
    from cellsieve.calling.slide_inputs import PATHS
    from cellsieve.manifest import read_manifest

    rows = read_manifest(path, ("field", "slide", "patient", *PATHS))
    slides = {row["slide"] for row in rows}
    if len(slides) != 1:
        raise UserError(f"{path}: one slide is called at a time, not {len(slides)}")
    patients = sorted({row["patient"] for row in rows} - {""})
    return slides.pop(), ", ".join(patients) or None, rows


if __name__ == "__main__":
    run(main)
