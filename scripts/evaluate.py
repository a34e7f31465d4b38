"""Compare the nuclei of a run with the label images in the sheet's column truth.

Prints, as JSON, Dice, IoU, aggregated Jaccard index (aji), average precision at each IoU from
0.5 to 0.95 and their mean (map), panoptic quality (pq, and its factors sq and rq) and count error
as means over fields; precision, recall and F1 at IoU 0.5 pooled over the nuclei of all fields.
low and high are the ends of the 95 % bootstrap interval over fields.
"""

from collections.abc import Sequence

from cellsieve.cli import parser, run
from cellsieve.errors import UserError


def main(argv: Sequence[str] | None = None) -> None:
    """Write one row a field; print the averages, and the simulator's truth where there is one."""
    options = parser(__doc__)
    options.add_argument("--fields", required=True, help="manifest of the run (manifests/run.tsv)")
    options.add_argument("--cells", help="cells.csv of the run, to compare with simulated truth")
    options.add_argument("--table", required=True, help="output, one row a field (.csv)")
    args = options.parse_args(argv)

    import pandas as pd

    from cellsieve.benchmarks.agreement import (
        compare_cells,
        join_truth,
        segmentation_table,
        summarise,
    )
    from cellsieve.benchmarks.figures import as_json
    from cellsieve.files import atomic
    from cellsieve.manifest import read_manifest

    rows = read_manifest(args.fields, ["field", "nuclei", "truth"])
    table = segmentation_table(rows)
    if table.empty:
        raise UserError(f"{args.fields}: no field has a truth")
    with atomic(args.table) as part:
        table.to_csv(part, index=False, float_format="%.6g")
    summary = summarise(table)
    if args.cells:
        cells = pd.read_csv(args.cells, keep_default_na=False, na_values=[""])
        joined = join_truth(rows, cells)
        if len(joined):
            probes = [name.removesuffix("_state") for name in cells if name.endswith("_state")]
            summary |= compare_cells(joined, probes)
    print(as_json(summary))


if __name__ == "__main__":
    run(main)
