"""Render one simulated fluorescence field of nuclei and the truth about it.

The image has five channels (DAPI and four FISH probes), uint16, with a pixel
size. The same options give the same bytes. Fields of one slide share
--slide-seed (stain, background, optics, camera) and differ in --seed.
"""

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path

from cellsieve.cli import parser, run
from cellsieve.errors import UserError

log = logging.getLogger(__name__)


def arguments() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    cli = parser(__doc__)
    files = cli.add_argument_group("outputs")
    files.add_argument("--image", type=Path, required=True, help="OME-TIFF, channels first")
    files.add_argument("--labels", type=Path, required=True, help="label image, OME-TIFF")
    files.add_argument("--truth", type=Path, required=True, help="TSV, one row a nucleus")
    cli.add_argument("--seed", type=int, default=0, help="of the field")
    cli.add_argument("--slide-seed", type=int, default=0, help="of the slide")
    cli.add_argument("--height", type=int, default=1024, help="px")
    cli.add_argument("--width", type=int, default=1024, help="px")
    cli.add_argument("--nuclei", type=int, default=120, help="how many to place")
    cli.add_argument("--abnormal", type=float, default=0.05, help="share of abnormal nuclei")
    cli.add_argument("--pixel-size", type=float, default=0.325, help="µm")
    cli.add_argument("--diameter", type=float, default=13.7, help="of a typical nucleus, µm")
    return cli


def main(argv: Sequence[str] | None = None) -> None:
    """Parse the command line, draw the field, write it."""
    options = arguments().parse_args(argv)
    _check(options)
    from cellsieve.simulation.scene import Field
    from cellsieve.simulation.slide import draw_slide
    from cellsieve.simulation.writing import write_field

    field = Field(
        height=options.height,
        width=options.width,
        nuclei=options.nuclei,
        abnormal=options.abnormal,
        seed=options.seed,
        pixel_size_um=options.pixel_size,
        diameter_um=options.diameter,
    )
    slide = draw_slide(options.slide_seed)
    cells = write_field(field, slide, options.image, options.labels, options.truth)
    abnormal = int((cells["class"] == "abnormal").sum())
    log.info("%s: %d nuclei, %d of them abnormal", options.image, len(cells), abnormal)


def _check(options: argparse.Namespace) -> None:
    least = {"seed": 0, "slide_seed": 0, "height": 1, "width": 1, "nuclei": 0}
    for name, smallest in least.items():
        _require(options, name, getattr(options, name) >= smallest, f"{smallest} or more")
    _require(options, "abnormal", 0 <= options.abnormal <= 1, "from 0 to 1")
    _require(options, "pixel_size", 0 < options.pixel_size < float("inf"), "more than 0")
    _require(options, "diameter", 0 < options.diameter < float("inf"), "more than 0")
    radius = 0.5 * options.diameter / options.pixel_size
    _require(options, "diameter", 2 <= radius <= 1000, "from 4 to 2000 px at this --pixel-size")
    room = options.height * options.width / (3.14 * radius**2)
    _require(
        options, "nuclei", options.nuclei <= 1 + room, f"at most {1 + int(room)} in this field"
    )


def _require(options: argparse.Namespace, name: str, holds: bool, allowed: str) -> None:
    if not holds:
        flag = f"--{name.replace('_', '-')}"
        raise UserError(f"{flag} {getattr(options, name)}: must be {allowed}")


if __name__ == "__main__":
    run(main)
