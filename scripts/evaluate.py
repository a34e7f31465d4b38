"""Compare the nuclei of a run with the label images in the sheet's column truth."""

import json
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

    from cellsieve.agreement import compare_cells, join_truth, segmentation_table, summarise
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
    print(json.dumps(summary, indent=2))


if __name__ == "__main__":
    run(main)
