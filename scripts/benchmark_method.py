"""Segment all fields that have a truth with one method, and time each.

A field's time runs from its preprocessed DAPI plane on the disk to its labels on the disk; that
of loading the method does not count.
"""

import json
import logging
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cellsieve.benchmarks.choices import METHODS
from cellsieve.cli import existing_file, parser, positive, run

if TYPE_CHECKING:
    import zarr

    from cellsieve.benchmarks.methods import Field, Method, Unavailable

log = logging.getLogger("benchmark_method")

COLUMNS = ["field", "seconds", "height", "width"]
_TILE = 2048
_WARM_UP = 256  # px


def main(argv: Sequence[str] | None = None) -> None:
    """Write a store with the labels of every field, and a table of times."""
    options = parser(__doc__)
    options.add_argument(
        "--fields", type=existing_file, required=True, help="manifest: field, truth, dapi, qc"
    )
    options.add_argument("--method", required=True, choices=list(METHODS))
    options.add_argument(
        "--weights",
        nargs="*",
        default=[],
        help="of the method's network; of maskrcnn_human one file a fold, in their order",
    )
    options.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda"])
    options.add_argument("--threads", type=positive, default=2, help="of PyTorch on a CPU")
    options.add_argument("--labels", required=True, help="output, a plane a field (.zarr.zip)")
    options.add_argument("--times", required=True, help="output, .csv")
    args = options.parse_args(argv)

    import pandas as pd

    from cellsieve.benchmarks.methods import load_method
    from cellsieve.benchmarks.segmentation_benchmark import read_fields
    from cellsieve.files import atomic
    from cellsieve.stores import create_zip

    rows = read_fields(args.fields)
    names = [row["field"] for row in rows]
    method = load_method(args.method, args.weights, args.device, args.threads, names)
    with create_zip(args.labels) as store:
        store.attrs["method"] = args.method
        times = _segment(rows, method, store, args.times)
    with atomic(args.times) as part:
        pd.DataFrame(times, columns=COLUMNS).to_csv(part, index=False, float_format="%.4g")


def _segment(
    rows: Sequence[dict[str, str]], method: "Method | Unavailable", store: "zarr.Group", beside: str
) -> list[tuple[Any, ...]]:
    """Fill the store; return rows of the table of times."""
    import zarr
    from tqdm import tqdm

    from cellsieve.benchmarks.methods import Unavailable
    from cellsieve.files import scratch

    if isinstance(method, Unavailable):
        store.attrs.update({"network": "", "device": "", "note": method.note})
        log.warning("%s", method.note)
        return []
    store.attrs.update({"network": method.network, "device": method.device, "note": ""})

    times, warm = [], False
    with scratch(beside) as folder:
        group = zarr.open_group(folder, mode="w")
        for row in tqdm(rows, unit="field", disable=None):
            qc = json.loads(Path(row["qc"]).read_text(encoding="utf-8"))
            if qc["status"] == "rejected":
                log.info("%s is left out: %s", row["field"], "; ".join(qc["reasons"]))
                continue
            if not warm and qc["diameter_px"]:
                warm = True
                _warm_up(row, qc, method, group)
            times.append(_time_field(row, qc, method, group, store))
    return times


def _warm_up(
    row: dict[str, str], qc: dict[str, Any], method: "Method", group: "zarr.Group"
) -> None:
    """Let the method do what it does only once, on a small part of a field."""
    from cellsieve.pictures import crop
    from cellsieve.stores import open_zip

    with open_zip(row["dapi"]) as opened:
        height, width = opened["dapi"].shape
        part = crop(opened["dapi"], (height / 2, width / 2), _WARM_UP)
    method.segment(_field(row, qc, part), group)


def _time_field(
    row: dict[str, str],
    qc: dict[str, Any],
    method: "Method",
    group: "zarr.Group",
    store: "zarr.Group",
) -> tuple[Any, ...]:
    """Segment a field into the store; return its row of the table of times."""
    import numpy as np

    from cellsieve.stores import add_plane, open_zip
    from cellsieve.tiles import tiles

    start = time.perf_counter()
    with open_zip(row["dapi"]) as opened:
        shape = opened["dapi"].shape
        found = method.segment(_field(row, qc, opened["dapi"]), group)
        plane = add_plane(store, row["field"], shape, np.uint32)
        for tile in tiles(shape, _TILE):
            plane[tile.core] = found.lookup[np.asarray(found.labels[tile.core])]
    return row["field"], time.perf_counter() - start, *shape


def _field(row: dict[str, str], qc: dict[str, Any], dapi: Any) -> "Field":
    from cellsieve.benchmarks.methods import Field

    return Field(row["field"], dapi, qc["diameter_px"], qc["nuclear_intensity"])


if __name__ == "__main__":
    run(main)
