"""Compare methods of segmentation on fields with a truth: a table, a picture, a page.

The picture shows the crop with the most true nuclei of the field on which the first method has
its median AP50, so that no other method decides what is seen of it.
"""

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from cellsieve.cli import existing_file, parser, run
from cellsieve.errors import UserError

if TYPE_CHECKING:
    import numpy as np

    from cellsieve.benchmarks.segmentation_benchmark import Result

log = logging.getLogger("benchmark_segmentation")


def main(argv: Sequence[str] | None = None) -> None:
    """Read the labels of all methods and the truth; write what they amount to."""
    options = parser(__doc__)
    options.add_argument(
        "--fields", type=existing_file, required=True, help="manifest: field, truth, dapi, qc"
    )
    inputs = {"nargs": "+", "type": existing_file, "required": True}
    options.add_argument("--labels", **inputs, help="of benchmark_method.py, a file a method")
    options.add_argument("--times", **inputs, help="of benchmark_method.py, in the same order")
    options.add_argument("--table", required=True, help="output, one row a method (.csv)")
    options.add_argument(
        "--fields-table", required=True, help="output, one row a method and field (.csv)"
    )
    options.add_argument("--picture", required=True, help="output, .png")
    options.add_argument("--page", required=True, help="output, .html")
    args = options.parse_args(argv)
    if len(args.labels) != len(args.times):
        raise UserError(
            f"--times: {len(args.times)} files; allowed: one for each of the "
            f"{len(args.labels)} of --labels"
        )

    from tqdm import tqdm

    from cellsieve.benchmarks.page import render
    from cellsieve.benchmarks.segmentation_benchmark import (
        benchmark_table,
        check_same_fields,
        compare_method,
        fields_table,
        read_fields,
    )
    from cellsieve.files import atomic
    from cellsieve.pictures import save_png

    rows = read_fields(args.fields)
    pairs = list(zip(args.labels, args.times, strict=True))
    results = [compare_method(*pair, rows) for pair in tqdm(pairs, unit="method", disable=None)]
    check_same_fields(results)
    table = benchmark_table(results)
    picture, shown = _picture(results, {row["field"]: row for row in rows})
    for path, frame in ((args.table, table), (args.fields_table, fields_table(results))):
        with atomic(path) as part:
            frame.to_csv(part, index=False, float_format="%.6g")
    save_png(args.picture, picture)
    with atomic(args.page) as part:
        part.write_text(render(table, picture, shown), encoding="utf-8")
    log.info("%d methods on %d fields", len(table), table["fields"].max())


def _picture(
    results: Sequence["Result"], rows: dict[str, dict[str, str]]
) -> tuple["np.ndarray", dict[str, Any]]:
    """Draw the crop under every method, and say where it is."""
    import numpy as np

    from cellsieve.benchmarks.choices import METHODS
    from cellsieve.benchmarks.picture import (
        Panel,
        densest_crop,
        middle_field,
        panels_picture,
    )
    from cellsieve.pictures import contrast_limits, stretch
    from cellsieve.stores import open_labels, open_zip

    name = middle_field(next(result.table for result in results if len(result.table)))
    with open_labels(rows[name]["truth"]) as truth:
        region = densest_crop(truth)
        panels = [Panel("DAPI", None), Panel("Truth", np.asarray(truth[region]))]
    with open_zip(rows[name]["dapi"]) as store:
        grey = stretch(np.asarray(store["dapi"][region]), contrast_limits(store["dapi"]))
    for result in results:
        with open_zip(result.labels) as store:
            labels = np.asarray(store[name][region]) if name in store else None
        panels.append(Panel(METHODS[result.about["method"]], labels, result.about["note"]))
    shown = {"y": region[0].start, "x": region[1].start}
    shown |= {"field": name, "height": grey.shape[0], "width": grey.shape[1]}
    return panels_picture(grey, panels), shown


if __name__ == "__main__":
    run(main)
