"""Record where the results of a run come from: inputs, configuration, code, versions."""

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cellsieve.cli import parser, run

log = logging.getLogger("record_run")
# column of the manifest with a file that the sheet gives beside the image, and its name here
GIVEN = {"given_nuclei": "nuclei", "reference_nuclei": "reference_nuclei"}


def main(argv: Sequence[str] | None = None) -> None:
    """Gather digests of what went in and of what came out; write one JSON file."""
    options = parser(__doc__)
    options.add_argument("--fields", required=True, help="manifest of the run: field, image, qc")
    options.add_argument("--config", required=True, help="the configuration, as JSON")
    options.add_argument("--model", action="append", default=[], help="record.json of a model")
    options.add_argument(
        "--segmenter", type=Path, help="weights that the fields are segmented with"
    )
    options.add_argument("--tables", nargs="+", required=True, help="tables of the run")
    options.add_argument("--record", required=True, help="output, .json")
    args = options.parse_args(argv)

    from cellsieve import __version__
    from cellsieve.files import write_json
    from cellsieve.manifest import read_manifest
    from cellsieve.provenance import STAGES, code, file_sha256, versions

    rows = read_manifest(args.fields, ["field", "image", "qc", "slide", "slide_calls"])
    config = json.loads(args.config)
    record = {
        "cellsieve": __version__,
        "versions": versions(),
        "config": config,
        "seed": config["seed"],
        "code": {stage: code(stage) for stage in STAGES},
        "inputs": [_inputs(row) for row in rows],
        "models": [json.loads(Path(path).read_text(encoding="utf-8")) for path in args.model],
        "segmenter": _segmenter(args.segmenter) if args.segmenter else None,
        "tables": {Path(path).name: file_sha256(path) for path in args.tables}
        | {f"slides/{row['slide']}/calls.parquet": file_sha256(row["slide_calls"]) for row in rows},
    }
    write_json(args.record, record)
    log.info("recorded %d fields", len(rows))


def _segmenter(weights: Path) -> dict[str, Any]:
    """Name the weights, and tell what the record beside them knows."""
    from cellsieve.provenance import file_sha256

    beside = [weights.with_name("record.json"), weights.with_suffix(".json")]
    known = [json.loads(path.read_text(encoding="utf-8")) for path in beside if path.is_file()]
    sha256 = file_sha256(weights)
    own = [record for record in known if record.get("weights_sha256") == sha256]
    return {**(own or [{}])[0], "weights": str(weights), "weights_sha256": sha256}


def _inputs(row: dict[str, str]) -> dict[str, str | None]:
    """Name the files of a field; the digest of one that was never read may be missing."""
    from cellsieve.provenance import file_sha256

    quality = json.loads(Path(row["qc"]).read_text(encoding="utf-8"))
    found = {"field": row["field"], "image": row["image"], "sha256": quality["image_sha256"]}
    for column, name in GIVEN.items():
        if path := row.get(column):
            found[name] = path
            found[f"{name}_sha256"] = file_sha256(path) if Path(path).is_file() else None
    return found


if __name__ == "__main__":
    run(main)
