"""Learn the reference by one anomaly method and score all fields whose classes are known."""

import json
import logging
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cellsieve.choices import ANOMALY_NETWORKS, HAND_MADE, OUTLIER_EXPOSURE, UNFITTED
from cellsieve.cli import existing_file, parser, positive, run, whole
from cellsieve.errors import UserError

log = logging.getLogger("benchmark_anomaly_method")


def main(argv: Sequence[str] | None = None) -> None:
    """Write scores and classes of all nuclei, and how long it took."""
    options = parser(__doc__)
    options.add_argument("--fields", type=existing_file, required=True, help="manifest of the run")
    options.add_argument("--method", required=True, choices=[*UNFITTED, *ANOMALY_NETWORKS])
    options.add_argument("--backbone", default="none", help="of a network")
    options.add_argument(
        "--start",
        type=existing_file,
        help="first weights of the backbone, or the weights of outlier_exposure",
    )
    options.add_argument("--steps", type=positive, default=200)
    options.add_argument("--seed", type=whole, default=0)
    options.add_argument("--threads", type=positive, default=2, help="of PyTorch on a CPU")
    options.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda"])
    options.add_argument("--checkpoint", required=True, type=Path, help="for going on")
    options.add_argument("--scores", required=True, help="output, a row a nucleus (.parquet)")
    options.add_argument("--record", required=True, help="output (.json)")
    args = options.parse_args(argv)

    import pandas as pd

    from cellsieve.anomaly.reference import SMALLEST_BANK
    from cellsieve.anomaly.reference_model import build
    from cellsieve.benchmarks.anomaly_benchmark import split_fields, true_classes
    from cellsieve.files import atomic, write_json
    from cellsieve.manifest import read_manifest
    from cellsieve.provenance import file_sha256

    rows = read_manifest(args.fields, ["field", "slide", "qc", "dapi", "nuclei", "measurements"])
    for row in rows:
        row["quality"] = json.loads(Path(row["qc"]).read_text(encoding="utf-8"))
    learned, tested = split_fields([row for row in rows if row["quality"]["diameter_px"]])
    begun = time.perf_counter()
    network = None if args.method in HAND_MADE else _network(args, learned)
    fits = args.method in ANOMALY_NETWORKS
    method = "network" if fits else args.method
    model = build(learned, args.seed, False, method, network, localised=fits)
    if len(model.bank) < SMALLEST_BANK:
        raise UserError(f"{args.fields}: {model.notes[0]}")
    fitted = time.perf_counter()
    localiser = None
    if fits:
        localiser, network = _localiser(network, model), network._replace(scored=True)
    banks = _banks(model)
    tables = [_describe(row, model, network, localiser) for row in tested]
    scores = [_score(table, *banks) for table in tables]
    known = [true_classes(row) for row in tested]
    scores = pd.concat(
        [mine.merge(truth, on="cell") for mine, truth in zip(scores, known, strict=True)],
        ignore_index=True,
    )
    ended = time.perf_counter()
    with atomic(args.scores) as part:
        scores.to_parquet(part, index=False)
    seconds = {"seconds_fit": fitted - begun, "seconds_field": (ended - fitted) / len(tested)}
    told = {name: getattr(args, name) for name in ("method", "backbone", "seed", "steps")}
    told["start_sha256"] = file_sha256(args.start) if args.start else None
    write_json(args.record, {**told, **seconds, "notes": model.notes})
    args.checkpoint.unlink(missing_ok=True)


def _network(args: Any, rows: list[dict[str, Any]]) -> Any:
    """Fit a network, or take the weights of one that is not fitted."""
    import torch

    from cellsieve.anomaly_networks.files import Network, load_network, load_start
    from cellsieve.anomaly_networks.methods import FROZEN, METHODS
    from cellsieve.anomaly_networks.networks import Backbone
    from cellsieve.devices import choose_device

    torch.set_num_threads(args.threads)
    device = choose_device(args.device)
    if args.start is None and args.method in (OUTLIER_EXPOSURE, FROZEN):
        raise UserError(f"{args.method} needs weights; allowed: --start FILE")
    if args.method == OUTLIER_EXPOSURE:
        return load_network(args.start, device, exposed=True)
    start = load_start(args.start, args.backbone) if args.start else None
    torch.manual_seed(args.seed)
    module = METHODS[args.method].build(Backbone(args.backbone))
    if args.method == FROZEN:
        module.backbone.load_state_dict(start)
        return Network(METHODS[FROZEN], module.to(device).eval())
    return _fitted(args, rows, module, start, device)


def _fitted(args: Any, rows: list[dict[str, Any]], module: Any, start: Any, device: str) -> Any:
    from cellsieve.anomaly.reference import SMALLEST_BANK
    from cellsieve.anomaly.reference_crops import cut_reference_crops
    from cellsieve.anomaly_networks.fitting import Options, fit, fitted_network

    crops = cut_reference_crops(rows, args.seed)
    if len(crops) < SMALLEST_BANK:
        few = f"{len(crops)} normal nuclei to learn from; allowed: at least {SMALLEST_BANK}"
        raise UserError(f"{args.fields}: {few}")
    plan = Options(args.method, args.backbone, args.steps, args.seed, device)
    course = fit(crops, start, plan, args.checkpoint, lambda rows: None)
    log.info("kept: the weights of step %d", course.step)
    return fitted_network(args.method, module.to(device), course)


def _localiser(network: Any, model: Any) -> Any:
    from cellsieve.anomaly_networks.localisation import Localiser

    return Localiser(network, model.windows) if len(model.windows) else None


def _banks(model: Any) -> tuple[Any, Any, Any]:
    """Return the bank with specks, the scores that calibrate it, and the localised bank if any."""
    from cellsieve.anomaly.reference import Bank

    specks = Bank(model.bank.drop(columns="localised", errors="ignore"), model.signs)
    localised = Bank(model.bank) if "localised" in model.bank else None
    return specks, specks.score(model.calibration).score, localised


def _describe(row: dict[str, Any], model: Any, network: Any, localiser: Any) -> Any:
    from cellsieve.anomaly.describing import describe_field
    from cellsieve.stores import open_labels, open_zip

    with open_zip(row["dapi"]) as store, open_labels(row["nuclei"]) as nuclei:
        table = describe_field(
            store["dapi"], nuclei, row["field"], row["quality"], model.scale, network
        )
    if localiser is None:
        return table
    from cellsieve.anomaly.reference_windows import localise_nuclei

    return localise_nuclei([row], model.scale, localiser, table)


def _score(table: Any, specks: Any, calibration: Any, localised: Any) -> Any:
    """Score the described nuclei of one field by every view there is."""
    from cellsieve.anomaly.reference import conformal_p

    scores = specks.score(table)
    found = table[["field", "cell"]].assign(
        anomaly_crop=scores.crop,
        anomaly_map=scores.surroundings,
        anomaly_score=scores.score,
        anomaly_p=conformal_p(scores.score, calibration),
    )
    if localised:
        found["joined_localised"] = localised.score(table).score
    for name in ("pretext", "window", "localised"):
        if name in table:
            found[name] = table[name]
    return found


if __name__ == "__main__":
    run(main)
