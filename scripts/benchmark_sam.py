"""Measure time and memory of outlining one field: our small model, SAM in batches, SAM by calls.

Each is run in a process of its own, the start of Python included. SAM has the
vit_b size and random weights, which cost as much as trained ones. It is slow
on a CPU: by default it answers only some tiles, and the time of the field is
computed from the time a tile and a prompt.
"""

import logging
from collections.abc import Sequence

from cellsieve.benchmarks.sam_benchmark import CASES, Job, measure
from cellsieve.cli import existing_file, parser, positive, run
from cellsieve.files import atomic

log = logging.getLogger("benchmark_sam")


def main(argv: Sequence[str] | None = None) -> None:
    """Measure one case after the other; write a row for each."""
    options = parser(__doc__)
    options.add_argument("--dapi", type=existing_file, required=True, help="of preprocess.py")
    options.add_argument("--qc", type=existing_file, required=True, help="of preprocess.py")
    options.add_argument("--prompts", type=existing_file, required=True, help="of prompts.py")
    options.add_argument("--cases", nargs="+", choices=list(CASES), default=list(CASES))
    options.add_argument("--threads", type=positive, default=2)
    options.add_argument("--sam-tiles", type=int, default=2, help="that SAM answers; 0 for all")
    options.add_argument("--table", required=True, help="output, .csv")
    args = options.parse_args(argv)

    import pandas as pd

    rows = []
    for case in args.cases:
        tiles = None if case == "small" else args.sam_tiles or None
        job = Job(case, args.dapi, args.qc, args.prompts, args.threads, tiles)
        rows.append(measure(job))
        log.info("%s: %.1f s for the field", CASES[case], rows[-1]["field_wall_s"])
    with atomic(args.table) as part:
        pd.DataFrame(rows).to_csv(part, index=False, float_format="%.4g")


if __name__ == "__main__":
    run(main)
