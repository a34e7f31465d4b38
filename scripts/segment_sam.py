"""Outline the candidates of one field with a promptable model (SAM)."""

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cellsieve.choices import PROMPT_KINDS
from cellsieve.cli import parser, run
from cellsieve.errors import UserError
from cellsieve.model_options import add_model_options
from cellsieve.weights import verified

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger("segment_sam")


def main(argv: Sequence[str] | None = None) -> None:
    """Read a field and its candidates; write a mask for each, and a picture of them."""
    options = parser(__doc__)
    options.add_argument("--dapi", required=True, help=".zarr.zip of preprocess.py")
    options.add_argument("--qc", required=True, help=".json of preprocess.py")
    options.add_argument("--prompts", help=".parquet of prompts.py; not needed for --mode auto")
    options.add_argument("--mode", default="prompted", choices=["prompted", "auto"])
    add_model_options(options)
    options.add_argument(
        "--kinds", type=_kinds, help="of point,box,darkest,neighbours; the model's own by default"
    )
    options.add_argument("--masks", required=True, help="output, .parquet")
    options.add_argument("--picture", required=True, help="output, outlines (.png)")
    args = options.parse_args(argv)
    if args.mode == "prompted" and not args.prompts:
        raise UserError("--prompts is needed: the candidates to outline (or take --mode auto)")
    verified(args.model, args.weights)  # before anything slow is imported

    from cellsieve.pseudo_labelling.prompted import SAM_MASKS
    from cellsieve.stores import open_zip
    from cellsieve.tables import write_table

    qc = json.loads(Path(args.qc).read_text(encoding="utf-8"))
    with open_zip(args.dapi) as store:
        table, model = _outline(args, store["dapi"], qc)
        write_table(args.masks, table, SAM_MASKS, [f"outlined by {model}"])
        _picture(store["dapi"], table, args.picture)
    empty = int((table["area_px"] == 0).sum())
    repeated = int(table["duplicate_of"].notna().sum())
    log.info("%d masks, %d empty, %d duplicates", len(table), empty, repeated)


def _outline(args: Any, dapi: Any, qc: dict[str, Any]) -> tuple["pd.DataFrame", str]:
    import torch

    from cellsieve.promptable import load_model
    from cellsieve.promptable.everything import answer_everything
    from cellsieve.pseudo_labelling.prompted import answer_field
    from cellsieve.tables import read_table

    torch.set_num_threads(args.threads)
    model = load_model(args.model, args.weights, args.device)
    scale = qc["diameter_px"], qc["nuclear_intensity"]
    if args.mode == "auto":
        return answer_everything(dapi, model, *scale), model.name
    return answer_field(dapi, read_table(args.prompts), model, *scale, args.kinds), model.name


def _picture(dapi: Any, table: "pd.DataFrame", path: str) -> None:
    from cellsieve.pictures import save_png
    from cellsieve.pseudo_labelling.mask_picture import mask_overlay

    save_png(path, mask_overlay(dapi, table))


def _kinds(text: str) -> tuple[str, ...]:
    kinds = tuple(text.split(","))
    if unknown := set(kinds) - set(PROMPT_KINDS):
        raise UserError(f"--kinds: no {', '.join(sorted(unknown))}; of {', '.join(PROMPT_KINDS)}")
    if not {"point", "box"} & set(kinds):
        raise UserError(f"--kinds {text}: says only what is outside; allowed: with point or box")
    return kinds


if __name__ == "__main__":
    run(main)
