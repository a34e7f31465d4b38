"""Make the report of a run: one HTML page that needs no network.

The page shows what was run and what went wrong, the most abnormal nuclei in
pictures, the FISH signals of each slide, each field, and where it all comes from.
"""

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path

from cellsieve.cli import add_channel_options, existing_file, parser, run

log = logging.getLogger("report")

PATHS = (
    *("field", "slide", "image", "qc", "dapi", "nuclei"),
    *("overlay", "anomaly_map", "slide_summary"),
)


def main(argv: Sequence[str] | None = None) -> None:
    """Read the arguments, gather what the page shows, write it."""
    args = _arguments(argv)
    from cellsieve.files import atomic
    from cellsieve.images import parse_channels
    from cellsieve.manifest import read_manifest
    from cellsieve.report.density import distribution
    from cellsieve.report.fields import field_sections, slide_sections
    from cellsieve.report.gallery import make_cards
    from cellsieve.report.inputs import read_json, read_rows, scan_cells
    from cellsieve.report.page import Report, render
    from cellsieve.report.pictures import file_uri

    channels = parse_channels(args.channel)
    probes = list(channels)[1:]
    manifest = read_manifest(args.fields, PATHS)
    by_field = {row["field"]: row for row in manifest}
    cells = scan_cells(args.cells, probes, args.top)
    log.info("%d nuclei, ranked by %s", cells.total("nuclei"), cells.ranked_by)

    options = {
        "channels": channels,
        "projection": args.projection,
        "typical_dna": cells.typical_dna,
        "thumbnails": args.reference_thumbnails,
    }
    ranked = make_cards(cells.ranked, by_field, **options)
    shown = {card.anchor for card in ranked}
    cacs = make_cards(cells.cacs, by_field, **options)
    log.info("%d nuclei in pictures", len(ranked) + len(cacs))
    importance = (cells.counts["suspicious"] + cells.counts["cac"]).to_dict()
    fields, heat_limits = field_sections(manifest, importance)
    report = Report(
        cells=cells,
        ranked=ranked,
        cacs=[card for card in cacs if card.anchor not in shown],
        fields=fields,
        slides=slide_sections(manifest),
        distribution=distribution(fields, cells),
        heat_limits=heat_limits,
        field_rows=read_rows(args.fields_table),
        slide_rows=read_rows(args.slides),
        patient_rows=read_rows(args.patients),
        probes=probes,
        record=read_json(args.record),
        curve=file_uri(args.segmenter_curve, 700) if args.segmenter_curve else "",
    )
    with atomic(args.report) as part:
        part.write_text(render(report), encoding="utf-8")
    log.info("%s: %.1f MB", args.report, args.report.stat().st_size / 1e6)


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    p = parser(__doc__)
    p.add_argument("--fields", type=existing_file, required=True, help="manifest of the fields")
    p.add_argument("--cells", type=existing_file, required=True, help="cells.csv of the run")
    p.add_argument("--fields-table", type=existing_file, required=True, help="fields.csv")
    p.add_argument("--slides", type=existing_file, required=True, help="slides.csv")
    p.add_argument("--patients", type=existing_file, required=True, help="patients.csv")
    p.add_argument(
        "--reference-thumbnails",
        action="append",
        type=existing_file,
        default=[],
        help="pictures of a model's reference nuclei; once for each model of the run",
    )
    p.add_argument("--segmenter-curve", type=existing_file, help="of a segmenter's training (.png)")
    p.add_argument("--record", type=existing_file, required=True, help="record.json of the run")
    add_channel_options(p)
    p.add_argument("--top", type=int, default=60, help="the most nuclei in each gallery")
    p.add_argument("--report", type=Path, required=True, help="page to write (HTML)")
    return p.parse_args(argv)


if __name__ == "__main__":
    run(main)
