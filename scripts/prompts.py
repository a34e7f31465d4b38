"""Find candidates for nuclei in one field and say where a promptable model is to look.

A classical engine outlines the candidates. Each gets a point inside it, a point
outside every nucleus and a box; those that no single nucleus looks like are
refused, with the reason.
"""

import json
import logging
from collections.abc import Sequence
from pathlib import Path

from cellsieve.choices import COARSE
from cellsieve.cli import parser, run
from cellsieve.errors import UserError
from cellsieve.pseudo_labelling.shape_limits import ShapeLimits

log = logging.getLogger("prompts")

LIMITS = {
    "area": "area in typical areas",
    "length": "longer axis in typical diameters",
    "width": "shorter axis in typical diameters",
    "roundness": "4π area / perimeter²",
    "solidity": "area over that of the convex hull",
}


def main(argv: Sequence[str] | None = None) -> None:
    """Read the DAPI plane of a field; write its candidates and a picture of them."""
    options = parser(__doc__)
    options.add_argument("--dapi", required=True, help=".zarr.zip of preprocess.py")
    options.add_argument("--qc", required=True, help=".json of preprocess.py")
    options.add_argument("--coarse", default=COARSE[0], choices=COARSE, help="coarse segmentation")
    for name, what in LIMITS.items():
        bounds = getattr(ShapeLimits(), name)
        options.add_argument(
            f"--{name}", nargs=2, type=float, default=bounds, metavar=("LOW", "HIGH"), help=what
        )
    options.add_argument("--prompts", required=True, help="output, .parquet")
    options.add_argument("--picture", required=True, help="output, outlines and points (.png)")
    args = options.parse_args(argv)
    limits = ShapeLimits(**{name: _bounds(name, getattr(args, name)) for name in LIMITS})

    import zarr

    from cellsieve.files import scratch
    from cellsieve.pictures import save_png
    from cellsieve.pseudo_labelling.prompt_picture import draw_prompts
    from cellsieve.pseudo_labelling.prompts import PROMPTS, prompt_table
    from cellsieve.segmentation import segment_field
    from cellsieve.stores import open_zip
    from cellsieve.tables import write_table

    diameter = json.loads(Path(args.qc).read_text(encoding="utf-8"))["diameter_px"]
    with open_zip(args.dapi) as store, scratch(args.prompts) as folder:
        group = zarr.open_group(folder, mode="w")
        found = segment_field(store["dapi"], diameter, args.coarse, group)
        table = prompt_table(store["dapi"], found, diameter, limits)
        save_png(args.picture, draw_prompts(store["dapi"], store["foreground"], found, table))
        write_table(args.prompts, table, PROMPTS)
    log.info("%d candidates, %d kept", len(table), int(table["kept"].sum()))


def _bounds(name: str, bounds: Sequence[float]) -> tuple[float, float]:
    low, high = bounds
    if not 0 <= low <= high:
        raise UserError(f"--{name} {low:g} {high:g}: must be from 0 and in ascending order")
    return low, high


if __name__ == "__main__":
    run(main)
