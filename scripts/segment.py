"""Segment the nuclei of one field, or take over labels that exist already."""

import argparse
import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cellsieve.choices import COARSE, ENGINES
from cellsieve.cli import parser, positive, run
from cellsieve.errors import UserError

if TYPE_CHECKING:
    import zarr

    from cellsieve.segmentation import Segmented

log = logging.getLogger("segment")


def main(argv: Sequence[str] | None = None) -> None:
    """Read the DAPI plane of a field; write its label image and a picture of the outlines."""
    options = parser(__doc__)
    options.add_argument("--dapi", required=True, help=".zarr.zip of preprocess.py")
    options.add_argument("--qc", required=True, help=".json of preprocess.py")
    options.add_argument("--method", default=ENGINES[0], choices=[*ENGINES, "coarse"])
    options.add_argument("--weights", help="of the method's network (.safetensors)")
    options.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda"])
    options.add_argument("--threads", type=positive, default=2, help="of PyTorch on a CPU")
    options.add_argument("--coarse", default=COARSE[0], choices=COARSE)
    options.add_argument("--given", help="label image to take over in place of segmenting")
    options.add_argument("--nuclei", required=True, help="output, label image (OME-TIFF)")
    options.add_argument("--overlay", required=True, help="output, outlines (.png)")
    args = options.parse_args(argv)
    if args.method != "coarse" and not (args.weights or args.given):
        raise UserError(f"--weights is needed: those of {args.method} (or take --method coarse)")

    import zarr

    from cellsieve.files import scratch
    from cellsieve.stores import open_labels, open_zip, write_labels

    qc = json.loads(Path(args.qc).read_text(encoding="utf-8"))
    with open_zip(args.dapi) as store:
        dapi = store["dapi"]
        if args.given and qc["status"] != "rejected":
            _take_over(args.given, dapi.shape, args.nuclei, qc["pixel_size_um"])
        else:
            with scratch(args.nuclei) as folder:
                group = zarr.open_group(folder, mode="w")
                found = _segment(dapi, qc, args, group)
                write_labels(args.nuclei, found.labels, qc["pixel_size_um"], found.lookup)
                log.info("%d nuclei", len(found.lookup) - 1)
        with open_labels(args.nuclei) as nuclei:
            _picture(dapi, nuclei, args.overlay)


def _segment(
    dapi: Any, qc: dict[str, Any], args: argparse.Namespace, group: "zarr.Group"
) -> "Segmented":
    diameter = qc["diameter_px"]
    if args.method == "coarse" or not diameter:
        from cellsieve.segmentation import segment_field

        return segment_field(dapi, diameter, args.coarse, group)
    import torch

    from cellsieve.network_segmentation import segment_with_network
    from cellsieve.segmenters import load_segmenter

    torch.set_num_threads(args.threads)
    segmenter = load_segmenter(args.weights, args.device, args.method)
    return segment_with_network(dapi, diameter, qc["nuclear_intensity"], segmenter, group)


def _take_over(
    given: str, shape: tuple[int, int], target: str, pixel_size_um: float | None
) -> None:
    from cellsieve.images.tiff import open_tiff
    from cellsieve.stores import LARGEST_LABEL, write_labels
    from cellsieve.tiles import tiles

    with open_tiff(Path(given)) as source:
        labels = source.array
        if tuple(labels.shape) != tuple(shape) or labels.dtype.kind not in "iu":
            raise UserError(
                f"{given}: labels must be integers of the field's size {shape[0]}×{shape[1]}, "
                f"not {labels.dtype} of {'×'.join(map(str, labels.shape))}"
            )
        for tile in tiles(shape, 2048):
            block = labels[tile.core]
            if block.min() < 0 or block.max() > LARGEST_LABEL:
                raise UserError(f"{given}: labels must lie between 0 and {LARGEST_LABEL}")
        write_labels(target, labels, pixel_size_um)


def _picture(dapi: Any, nuclei: Any, path: str) -> None:
    from cellsieve.pictures import (
        as_rgb,
        contrast_limits,
        outline_overlay,
        overview,
        sampled_labels,
        save_png,
        stretch,
    )

    small, scale = overview(dapi)
    grey = stretch(small, contrast_limits(small))
    save_png(path, outline_overlay(as_rgb(grey), sampled_labels(nuclei, scale)))


if __name__ == "__main__":
    run(main)
