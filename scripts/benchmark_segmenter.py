"""Measure time and memory of segmenting one field: segment.py, Cellpose 3, Mask R-CNN ResNet-50.

Each runs in a process of its own, on the CPU. Of segment.py the whole command
is timed; of the others only the segmentation, without imports and loading.
These have random weights, which cost as much as trained ones but show no
nuclei: Cellpose's dynamics and the heads of Mask R-CNN are given those that
segment.py found. Mask R-CNN answers only some tiles; its time is divided by
their share of the field.
"""

import logging
from collections.abc import Sequence

from cellsieve.benchmarks.segmenter_benchmark import compare
from cellsieve.cli import existing_file, parser, positive, run
from cellsieve.files import atomic

log = logging.getLogger("benchmark_segmenter")


def main(argv: Sequence[str] | None = None) -> None:
    """Measure one after the other; write a row for each, and print the rows as JSON."""
    options = parser(__doc__)
    options.add_argument("--dapi", type=existing_file, required=True, help="of preprocess.py")
    options.add_argument("--qc", type=existing_file, required=True, help="of preprocess.py")
    options.add_argument("--weights", type=existing_file, required=True, help="for segment.py")
    options.add_argument("--threads", type=positive, default=2, help="of PyTorch")
    options.add_argument("--tiles", type=positive, default=2, help="that Mask R-CNN answers")
    options.add_argument("--repeats", type=positive, default=1, help="of each; the fastest counts")
    options.add_argument("--table", required=True, help="output, .csv")
    args = options.parse_args(argv)

    rows = compare(args.dapi, args.qc, args.weights, args.threads, args.tiles, args.repeats)

    # only now: what is started by a large process counts its memory as its own
    import pandas as pd

    table = pd.DataFrame(rows).astype({"nuclei": "Int64"})
    with atomic(args.table) as part:
        table.to_csv(part, index=False, float_format="%.4g")
    print(table.to_json(orient="records", indent=2, double_precision=4, force_ascii=False))
    for row in rows:
        log.info("%s: %.3g times the time of segment.py", row["name"], row["ratio_to_segment"])


if __name__ == "__main__":
    run(main)
