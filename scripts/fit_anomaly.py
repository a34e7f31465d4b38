"""Fit a network to the normal nuclei of a run, for the anomaly score."""

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cellsieve.choices import ANOMALY_NETWORKS
from cellsieve.cli import existing_file, parser, positive, run, whole
from cellsieve.errors import UserError

log = logging.getLogger("fit_anomaly")


def main(argv: Sequence[str] | None = None) -> None:
    """Fit, or go on from a checkpoint; write weights, curve and record."""
    options = parser(__doc__)
    options.add_argument(
        "--fields",
        type=existing_file,
        help="manifest with field, slide, qc, dapi, nuclei, measurements, reference_nuclei;"
        " not needed for frozen",
    )
    options.add_argument("--method", required=True, choices=ANOMALY_NETWORKS)
    options.add_argument("--backbone", default="vit", help="a family, or a name that timm knows")
    options.add_argument("--start", type=existing_file, help="first weights of the backbone")
    options.add_argument("--steps", type=positive, default=200)
    options.add_argument("--seed", type=whole, default=0)
    options.add_argument("--threads", type=positive, default=2, help="of PyTorch on a CPU")
    options.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda"])
    options.add_argument("--checkpoint", required=True, type=Path, help="for going on")
    options.add_argument("--weights", required=True, help="output (.safetensors)")
    options.add_argument("--curve", required=True, help="output (.csv)")
    options.add_argument("--picture", required=True, help="output, the curve (.png)")
    options.add_argument("--record", required=True, help="output, where the weights come from")
    args = options.parse_args(argv)
    if args.method != ANOMALY_NETWORKS[0] and not args.fields:
        raise UserError(f"--method {args.method} needs --fields")

    import torch

    from cellsieve.anomaly_networks.files import save_network
    from cellsieve.anomaly_networks.fitting import COLUMNS
    from cellsieve.anomaly_networks.methods import FROZEN
    from cellsieve.files import write_json
    from cellsieve.training.curve import write_curve

    torch.set_num_threads(args.threads)

    def follow(rows: list[list[float]]) -> None:
        write_curve(rows, COLUMNS, args.curve, args.picture)

    follow([])
    state, record = _frozen(args) if args.method == FROZEN else _fitted(args, follow)
    save_network(args.weights, state, args.method, args.backbone)
    write_json(args.record, {**record, **_origin(args)})
    args.checkpoint.unlink(missing_ok=True)


def _frozen(args: Any) -> tuple[Any, dict[str, Any]]:
    """Take the first weights as they are."""
    from cellsieve.anomaly_networks.files import load_start
    from cellsieve.anomaly_networks.methods import FROZEN, METHODS
    from cellsieve.anomaly_networks.networks import Backbone

    if args.start is None:
        raise UserError("a frozen network needs weights; allowed: --start FILE")
    network = METHODS[FROZEN].build(Backbone(args.backbone))
    network.backbone.load_state_dict(load_start(args.start, args.backbone))
    return network.state_dict(), {}


def _fitted(args: Any, follow: Any) -> tuple[Any, dict[str, Any]]:
    import torch

    from cellsieve.anomaly.reference import SMALLEST_BANK
    from cellsieve.anomaly.reference_crops import cut_reference_crops
    from cellsieve.anomaly_networks.files import load_start
    from cellsieve.anomaly_networks.fitting import Options, fit
    from cellsieve.anomaly_networks.methods import METHODS
    from cellsieve.anomaly_networks.networks import Backbone
    from cellsieve.devices import choose_device
    from cellsieve.manifest import read_manifest

    rows = read_manifest(args.fields, ["field", "slide", "qc", "dapi", "nuclei", "measurements"])
    for row in rows:
        row["quality"] = json.loads(Path(row["qc"]).read_text(encoding="utf-8"))
    crops = cut_reference_crops(rows, args.seed)
    start = load_start(args.start, args.backbone) if args.start else None
    about = {"nuclei": len(crops), "fields": [_field(row) for row in rows]}
    if len(crops) < SMALLEST_BANK:
        # no bank will be made of so few, and nothing scored
        log.warning("%d normal nuclei: nothing is learned", len(crops))
        torch.manual_seed(args.seed)
        return METHODS[args.method].build(Backbone(args.backbone)).state_dict(), about
    device = choose_device(args.device)
    plan = Options(args.method, args.backbone, args.steps, args.seed, device)
    course = fit(crops, start, plan, args.checkpoint, follow)
    log.info("kept: the weights of step %d", course.step)
    kept = {"kept_step": course.step, "diverged": course.diverged}
    return course.best, {**about, "device": device, **kept}


def _field(row: dict[str, Any]) -> dict[str, str]:
    return {"field": row["field"], "image_sha256": row["quality"]["image_sha256"]}


def _origin(args: Any) -> dict[str, Any]:
    from cellsieve.provenance import code, file_sha256, versions

    return {
        "weights_sha256": file_sha256(args.weights),
        "start_sha256": file_sha256(args.start) if args.start else None,
        **{
            name: getattr(args, name) for name in ("method", "backbone", "steps", "seed", "threads")
        },
        "code": code("fit_anomaly"),
        "versions": versions(),
    }


if __name__ == "__main__":
    run(main)
