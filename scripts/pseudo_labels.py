"""Choose the masks of one field that a network may be trained on, and say why not the others."""

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cellsieve.choices import SOURCES
from cellsieve.cli import existing_file, parser, run
from cellsieve.errors import UserError

log = logging.getLogger("pseudo_labels")

ACCEPTED, REFUSED = (60, 230, 90), (255, 70, 60)


def main(argv: Sequence[str] | None = None) -> None:
    """Read candidates and their masks; write labels, what to ignore, reasons and a picture."""
    options = parser(__doc__)
    options.add_argument("--dapi", required=True, help=".zarr.zip of preprocess.py")
    options.add_argument("--qc", required=True, help=".json of preprocess.py")
    options.add_argument("--prompts", required=True, type=existing_file, help="of prompts.py")
    options.add_argument("--masks", type=existing_file, help="of segment_sam.py or _cellpose.py")
    options.add_argument("--from", dest="source", default="sam", choices=SOURCES)
    options.add_argument(
        "--refused",
        default="ignore",
        choices=["ignore", "paint"],
        help="what becomes of regions that were refused: ignored in training, or "
        "painted over with background",
    )
    options.add_argument("--seed", type=int, default=0, help="of the painting")
    options.add_argument("--labels", required=True, help="output, .zarr.zip")
    options.add_argument("--table", required=True, help="output, a row a candidate (.parquet)")
    options.add_argument("--picture", required=True, help="output, outlines and refused regions")
    args = options.parse_args(argv)
    if args.source != "coarse" and args.masks is None:
        written = f"segment_{args.source}.py"
        raise UserError(f"--masks is needed: what {written} wrote (or take --from coarse)")

    from cellsieve.pseudo_labelling.pseudo_labels import COLUMNS, judge, write_store
    from cellsieve.stores import create_zip, open_zip
    from cellsieve.tables import read_notes, read_table, write_table

    diameter = json.loads(Path(args.qc).read_text(encoding="utf-8"))["diameter_px"]
    prompts = read_table(args.prompts)
    masks = read_table(args.masks) if args.source != "coarse" else None
    with open_zip(args.dapi) as field:
        dapi = field["dapi"]
        verdicts = judge(dapi, prompts, masks, args.source, diameter)
        with create_zip(args.labels) as store:
            planes = (dapi, field["foreground"])
            write_store(store, planes, verdicts, prompts, diameter or 0.0, args.refused, args.seed)
        with open_zip(args.labels) as store:
            _picture(dapi, store, args.picture)
    notes = [f"from {args.source}", *(read_notes(args.masks) if masks is not None else [])]
    write_table(args.table, verdicts.reset_index()[list(COLUMNS)], COLUMNS, notes)
    _report(verdicts)


def _report(verdicts: Any) -> None:
    from cellsieve.pseudo_labelling.diversity import BINS, shares

    accepted = int(verdicts.accepted.sum())
    if not accepted:
        log.warning("no pseudo-label: none of %d candidates was accepted", len(verdicts))
        return
    log.info(
        "%d of %d candidates accepted, %d of them for the sake of their bins; %s",
        accepted,
        len(verdicts),
        int(verdicts.doubtful.sum()),
        shares(verdicts.accepted, verdicts[list(BINS)]),
    )


def _picture(dapi: Any, store: Any, path: str) -> None:
    import numpy as np

    from cellsieve.pictures import (
        as_rgb,
        contrast_limits,
        outline_overlay,
        overview,
        sampled_labels,
        save_png,
        stretch,
    )

    shown = store.get("painted", dapi)
    small, scale = overview(shown)
    picture = as_rgb(stretch(small, contrast_limits(small), gamma=0.6))
    ignored = sampled_labels(store["ignore"], scale) > 0
    tint = np.array(REFUSED) - picture[ignored].astype(float)
    picture[ignored] = (picture[ignored] + 0.35 * tint).astype(np.uint8)
    save_png(path, outline_overlay(picture, sampled_labels(store["labels"], scale), ACCEPTED))


if __name__ == "__main__":
    run(main)
