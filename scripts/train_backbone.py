"""Train the first weights of a backbone for anomaly networks, on simulated nuclei only.

The task is CutPaste's: to tell whole nuclei from those that a patch or a scar was pasted into.
"""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cellsieve.cli import parser, run
from cellsieve.training_options import add_training_options, simulated_record, training_origin

log = logging.getLogger("train_backbone")
TASK = "cutpaste_3way"


def main(argv: Sequence[str] | None = None) -> None:
    """Train, or go on from a checkpoint; write weights, curve and record."""
    options = parser(__doc__)
    options.add_argument(
        "--backbone", required=True, choices=["vit", "resnet", "efficientnet", "regnet"]
    )
    add_training_options(options, steps=2000)
    args = options.parse_args(argv)

    import torch

    from cellsieve.anomaly_networks.files import save_network
    from cellsieve.anomaly_networks.fitting import COLUMNS, Options, fit
    from cellsieve.anomaly_networks.methods import FROZEN, METHODS
    from cellsieve.anomaly_networks.networks import Backbone
    from cellsieve.files import write_json
    from cellsieve.provenance import file_sha256
    from cellsieve.simulation.crops import draw_crops
    from cellsieve.training.curve import write_curve

    torch.set_num_threads(args.threads)
    crops = draw_crops(args.seed, args.scenes, args.threads)
    log.info("%d nuclei", len(crops))

    def follow(rows: list[list[float]]) -> None:
        write_curve(rows, COLUMNS, args.curve, args.picture)

    plan = Options(TASK, args.backbone, args.steps, args.seed, "cpu")
    course = fit(crops, None, plan, Path(args.checkpoint), follow)
    network = METHODS[FROZEN].build(Backbone(args.backbone))
    network.load_state_dict(_backbone(course.best), strict=False)
    # half precision is exact enough to begin with, and half the size
    state = network.state_dict()
    state = {name: value.half() if value.ndim > 1 else value for name, value in state.items()}
    save_network(args.weights, state, FROZEN, args.backbone)
    kept = {"weights_sha256": file_sha256(args.weights), "kept_step": course.step}
    kept |= {"nuclei": len(crops), COLUMNS[-1]: course.value, "backbone": args.backbone}
    write_json(args.record, {**simulated_record("train_backbone", training_origin(args)), **kept})


def _backbone(state: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in state.items() if name.startswith("backbone.")}


if __name__ == "__main__":
    run(main)
