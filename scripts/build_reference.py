"""Learn what normal nuclei look like: the bank that anomalies are measured against."""

import json
import logging
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cellsieve.choices import (
    HAND_MADE,
    MODALITY,
    OUTLIER_EXPOSURE,
    REFERENCE_FORMAT,
    SIGNS,
    SURROUNDINGS,
    UNFITTED,
)
from cellsieve.cli import existing_file, parser, positive, run
from cellsieve.errors import UserError

log = logging.getLogger("build_reference")


def main(argv: Sequence[str] | None = None) -> None:
    """Describe the reference nuclei of all fields; write bank, calibration, thumbnails."""
    options = parser(__doc__)
    options.add_argument(
        "--fields",
        required=True,
        help="manifest with field, slide, qc, dapi, nuclei, measurements, reference_nuclei",
    )
    options.add_argument(
        "--method",
        default=SIGNS,
        choices=[*UNFITTED, "network"],
        help="signs learned, with a network that ships or (default) without one, distance of"
        " hand-made features, or of a network's",
    )
    options.add_argument(
        "--network",
        type=existing_file,
        help="weights of fit_anomaly.py, or of train_outlier_network.py for outlier_exposure",
    )
    options.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda"])
    options.add_argument("--threads", type=positive, default=2, help="of PyTorch on a CPU")
    options.add_argument("--seed", type=int, default=0)
    options.add_argument(
        "--trim",
        action="store_true",
        help="the fields are not known to be normal: leave out their extremes, calibrate nothing",
    )
    options.add_argument(
        "--surroundings",
        default="specks",
        choices=SURROUNDINGS,
        help="what is unusual beside a nucleus: the brightest speck, or what a network localises",
    )
    options.add_argument("--bank", required=True, help="output, .parquet")
    options.add_argument("--calibration", required=True, help="output, .parquet")
    options.add_argument("--thumbnails", required=True, help="output, .zarr.zip")
    options.add_argument("--signs", required=True, help="output, .json")
    options.add_argument("--record", required=True, help="output, .json")
    options.add_argument("--network-copy", help="output, .safetensors: the network, with the bank")
    options.add_argument("--windows", help="output, .parquet: with --surroundings localised")
    args = options.parse_args(argv)
    networked = args.method not in HAND_MADE
    if len({networked, bool(args.network), bool(args.network_copy)}) > 1:
        needing = "network or outlier_exposure"
        raise UserError(f"--method {needing}, --network and --network-copy go together")
    localised = args.surroundings != SURROUNDINGS[0]
    if localised != bool(args.windows) or localised > (args.method == "network"):
        raise UserError("--surroundings localised needs --method network and --windows")

    from cellsieve.anomaly.reference_model import build, write_model
    from cellsieve.files import atomic, write_json
    from cellsieve.manifest import read_manifest

    rows = read_manifest(args.fields, ["field", "slide", "qc", "dapi", "nuclei", "measurements"])
    for row in rows:
        row["quality"] = json.loads(Path(row["qc"]).read_text(encoding="utf-8"))
    network = _network(args) if networked else None
    model = build(rows, args.seed, args.trim, args.method, network, localised)
    tables = (args.bank, args.calibration, args.thumbnails, args.signs, args.windows)
    write_model(model, *tables, rows)
    if args.network:
        with atomic(args.network_copy) as part:
            shutil.copyfile(args.network, part)
    write_json(args.record, _record(model, args, rows))
    log.info("%d nuclei in the bank, %d calibrate", len(model.bank), len(model.calibration))


def _network(args: Any) -> Any:
    import torch

    from cellsieve.anomaly_networks.files import load_network
    from cellsieve.devices import choose_device

    torch.set_num_threads(args.threads)
    exposed = args.method == OUTLIER_EXPOSURE
    return load_network(args.network, choose_device(args.device), exposed)


def _record(model: Any, args: Any, rows: list[dict[str, Any]]) -> dict[str, Any]:
    from cellsieve import __version__
    from cellsieve.provenance import code, file_sha256, versions

    names = ("bank", "calibration", "thumbnails", "signs", "network_copy", "windows")
    written = {name.removesuffix("_copy"): getattr(args, name) for name in names}
    return {
        "format": REFERENCE_FORMAT,
        "modality": MODALITY,
        "method": args.method,
        "seed": args.seed,
        "version": __version__,
        "versions": versions(),
        "code": code("build_reference"),
        "diameter_px": model.scale.diameter,
        "pixel_size_um": model.scale.pixel_size_um,
        "bank": len(model.bank),
        "calibration": len(model.calibration),
        "split_by": model.split_by,
        "notes": model.notes,
        "fields": [_field(row) for row in rows],
        "sha256": {name: file_sha256(path) for name, path in written.items() if path},
    }


def _field(row: dict[str, Any]) -> dict[str, Any]:
    from cellsieve.provenance import file_sha256

    known = {"field": row["field"], "image_sha256": row["quality"]["image_sha256"]}
    known["nuclei_sha256"] = file_sha256(row["nuclei"])
    chosen = row.get("reference_nuclei")
    # the list of a rejected field is not read, and need not be there
    if chosen and Path(chosen).is_file():
        known["reference_nuclei_sha256"] = file_sha256(chosen)
    return known


if __name__ == "__main__":
    run(main)
