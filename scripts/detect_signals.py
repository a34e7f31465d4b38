"""Find the candidate FISH signals of a field, probe by probe, with their contrast.

Many candidates are noise: which are signals is decided for a whole slide by
call_slide.py. A field that was rejected, holds no nucleus or lacks a probe
gives a valid table without those rows, and the table's notes say why.
"""

import argparse
import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cellsieve.cli import add_channel_options, existing_file, parser, run

log = logging.getLogger("detect_signals")


def main(argv: Sequence[str] | None = None) -> None:
    """Read the arguments, find the signals, write table and picture."""
    args = _arguments(argv)
    from cellsieve.images import open_field, parse_channels

    channels = parse_channels(args.channel)
    qc = json.loads(args.qc.read_text(encoding="utf-8"))
    if qc["status"] == "rejected":
        _write(args, {}, None, qc, ["the field was rejected: no signals were looked for"])
        return
    from cellsieve.stores import open_labels

    probes = list(channels)[1:]
    with open_field(args.image, channels, args.projection) as field:
        # without the probes that preprocess.py could not read
        planes = {probe: field.plane(probe) for probe in probes if probe in qc["channels"]}
        notes = [
            f"{probe}: the field has no such channel" for probe in probes if probe not in planes
        ]
        with open_labels(args.nuclei) as labels:
            _write(args, planes, labels, qc, notes)


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    p = parser(__doc__)
    p.add_argument("--image", required=True, help="image file, or a pattern with {channel}")
    add_channel_options(p)
    p.add_argument("--qc", type=existing_file, required=True, help="qc.json of the field")
    p.add_argument("--nuclei", type=existing_file, required=True, help="label image")
    p.add_argument("--signals", type=Path, required=True, help="table to write (Parquet)")
    p.add_argument("--picture", type=Path, help="picture to write (PNG)")
    options = p.add_argument_group("options of section signals")
    options.add_argument(
        "--radius-px",
        type=float,
        help="radius of a signal in pixels; estimated from the brightest ones when not given",
    )
    options.add_argument(
        "--minimum-contrast",
        type=float,
        default=3.0,
        help="weakest candidate to keep, in standard deviations of the noise",
    )
    return p.parse_args(argv)


def _write(
    args: argparse.Namespace,
    planes: Mapping[str, Any],
    labels: Any,
    qc: Mapping[str, Any],
    notes: list[str],
) -> None:
    """Find the signals in the planes there are; write the outputs in any case."""
    import pandas as pd

    from cellsieve.fish.channel_shift import lay_on_nuclei
    from cellsieve.fish.field_signals import field_signals
    from cellsieve.tables import SIGNALS, write_table

    signals = pd.DataFrame(columns=list(SIGNALS))
    if planes:
        planes, shifts = lay_on_nuclei(planes, labels, qc["diameter_px"])
        signals, found = field_signals(
            planes, labels, qc["diameter_px"], args.radius_px, args.minimum_contrast
        )
        notes = notes + shifts + found
    for note in notes:
        log.info("%s", note)
    log.info("%d candidates, %d in nuclei", len(signals), (signals["cell"] > 0).sum())
    write_table(args.signals, signals, SIGNALS, notes)
    if args.picture:
        import numpy as np

        from cellsieve.fish.signal_picture import draw_signals
        from cellsieve.pictures import save_png

        nuclei = np.zeros((1, 1), np.uint32) if labels is None else labels
        save_png(args.picture, draw_signals(planes, nuclei, signals, args.minimum_contrast))


if __name__ == "__main__":
    run(main)
