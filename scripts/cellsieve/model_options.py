"""Command-line options that the scripts with a promptable model share."""

import argparse

from cellsieve.cli import existing_file, positive
from cellsieve.weights import FOLDER


def add_model_options(options: argparse.ArgumentParser) -> None:
    """Add the options that say which model answers prompts, and on what it runs."""
    options.add_argument(
        "--model", default="small", help="small, sam_vit_b, sam_vit_l, sam_vit_h or a checkpoint"
    )
    options.add_argument("--weights", default=FOLDER, help="folder of downloaded weights")
    options.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda"])
    options.add_argument("--threads", type=positive, default=2, help="of PyTorch on a CPU")


def add_labelled_options(options: argparse.ArgumentParser) -> None:
    """Add the options that say on which labelled images is measured."""
    options.add_argument("--images", required=True, help="folder of images")
    options.add_argument(
        "--labels", required=True, help="folder of label images (TIFF, same names)"
    )
    options.add_argument("--list", type=existing_file, help="text file, one image name a line")
    options.add_argument("--channel", default="0", help="name or index of the DAPI channel")
    options.add_argument("--table", required=True, help="output, one row an image (.csv)")
