"""Outline the candidates of one field with Cellpose, in place of a promptable model."""

import json
import logging
from collections.abc import Sequence
from pathlib import Path

from cellsieve.cli import existing_file, parser, positive, run
from cellsieve.weights import FOLDER

log = logging.getLogger("segment_cellpose")


def main(argv: Sequence[str] | None = None) -> None:
    """Read a field and its candidates; write a mask for each, and a picture of them."""
    options = parser(__doc__)
    options.add_argument("--dapi", required=True, help=".zarr.zip of preprocess.py")
    options.add_argument("--qc", required=True, help=".json of preprocess.py")
    options.add_argument(
        "--prompts", required=True, type=existing_file, help=".parquet of prompts.py"
    )
    options.add_argument(
        "--model", required=True, help="checkpoint of Cellpose 3, or our own .safetensors"
    )
    options.add_argument("--weights", default=FOLDER, help="folder of downloaded weights")
    options.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda"])
    options.add_argument("--threads", type=positive, default=2, help="of PyTorch on a CPU")
    options.add_argument("--masks", required=True, help="output, as of segment_sam.py (.parquet)")
    options.add_argument("--picture", required=True, help="output, outlines (.png)")
    args = options.parse_args(argv)

    from cellsieve.pseudo_labelling.cellpose_model import (
        find_checkpoint,
        load_cellpose,
        outline_field,
    )

    checkpoint = find_checkpoint(args.model, args.weights)  # before anything slow is imported

    import torch

    from cellsieve.pictures import save_png
    from cellsieve.pseudo_labelling.mask_picture import mask_overlay
    from cellsieve.pseudo_labelling.prompted import SAM_MASKS
    from cellsieve.stores import open_zip
    from cellsieve.tables import read_table, write_table

    torch.set_num_threads(args.threads)
    qc = json.loads(Path(args.qc).read_text(encoding="utf-8"))
    model = load_cellpose(checkpoint, args.device)
    with open_zip(args.dapi) as store:
        dapi = store["dapi"]
        scale = qc["diameter_px"], qc["nuclear_intensity"]
        table = outline_field(dapi, read_table(args.prompts), model, *scale)
        write_table(args.masks, table, SAM_MASKS, [f"outlined by {model.name}"])
        save_png(args.picture, mask_overlay(dapi, table))
    empty = int((table["area_px"] == 0).sum())
    repeated = int(table["duplicate_of"].notna().sum())
    log.info("%d masks, %d empty, %d duplicates", len(table), empty, repeated)


if __name__ == "__main__":
    run(main)
