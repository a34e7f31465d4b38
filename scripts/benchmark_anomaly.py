"""Compare anomaly methods on fields whose classes are known: one table."""

import json
import logging
from collections.abc import Sequence
from pathlib import Path

from cellsieve.cli import existing_file, parser, run
from cellsieve.errors import UserError

log = logging.getLogger("benchmark_anomaly")


def main(argv: Sequence[str] | None = None) -> None:
    """Read the scores of all methods; write what they amount to."""
    options = parser(__doc__)
    inputs = {"nargs": "+", "type": existing_file, "required": True}
    options.add_argument("--scores", **inputs, help="of benchmark_anomaly_method.py")
    options.add_argument("--records", **inputs, help="in the same order")
    options.add_argument("--table", required=True, help="output (.csv)")
    args = options.parse_args(argv)
    if len(args.scores) != len(args.records):
        raise UserError(
            f"--records: {len(args.records)} files; allowed: one for each of the"
            f" {len(args.scores)} of --scores"
        )

    import pandas as pd

    from cellsieve.benchmarks.anomaly_benchmark import figures, summarise
    from cellsieve.benchmarks.anomaly_gain import BASELINE, gains
    from cellsieve.files import atomic

    told = ("method", "backbone", "seed", "steps", "seconds_fit", "seconds_field")
    records = [json.loads(Path(path).read_text(encoding="utf-8")) for path in args.records]
    runs = [
        ({name: known[name] for name in told}, pd.read_parquet(scores))
        for scores, known in zip(args.scores, records, strict=True)
    ]
    base = next((scores for about, scores in runs if about["method"] == BASELINE), None)
    table = []
    for about, scores in runs:
        rows = [*figures(scores)]
        gained = {} if base is None or base is scores else gains(scores, base)
        for found in rows:
            more = gained.get(found["class"], {}) if found["view"] == "joined" else {}
            table.append({**about, **found, **more})
    with atomic(args.table) as part:
        summarise(pd.DataFrame(table)).to_csv(part, index=False, float_format="%.4g")
    log.info("%d runs compared", len(args.scores))


if __name__ == "__main__":
    run(main)
