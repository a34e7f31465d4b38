"""Train the network that tells abnormal nuclei, on simulated nuclei only."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from cellsieve.choices import OUTLIER_EXPOSURE
from cellsieve.cli import parser, run
from cellsieve.errors import TrainingError
from cellsieve.training_options import add_training_options, simulated_record, training_origin

log = logging.getLogger("train_outlier_network")
EVERY = 200  # steps between rows of the curve
UNSEEN = 10  # one scene that is only judged by to so many that are learned from
COLUMNS = ("step", "loss", "share named rightly", "validation_roc_auc")


def main(argv: Sequence[str] | None = None) -> None:
    """Train, or go on from a checkpoint; write weights, curve and record."""
    options = parser(__doc__)
    add_training_options(options, steps=1800)
    options.set_defaults(scenes=400)
    args = options.parse_args(argv)

    import torch
    from sklearn.metrics import roc_auc_score

    from cellsieve.anomaly_networks.files import save_network
    from cellsieve.anomaly_networks.outlier_network import DIAMETER, OutlierNetwork, OutlierScorer
    from cellsieve.files import write_json
    from cellsieve.provenance import code, file_sha256
    from cellsieve.simulation.cases import draw_cases
    from cellsieve.training.course import train
    from cellsieve.training.curve import write_curve
    from cellsieve.training.outlier_network import make_trainer

    torch.set_num_threads(args.threads)
    cases = draw_cases(args.seed, args.scenes, args.threads, DIAMETER)
    judging = max(1, args.scenes // UNSEEN)
    unseen = draw_cases(args.seed + 1, judging, args.threads, DIAMETER)
    log.info("%d nuclei, %d of them abnormal", len(cases.abnormal), cases.abnormal.sum())
    judged = OutlierScorer(OutlierNetwork().eval())

    def judge(state: Mapping[str, Any]) -> float:
        judged.module.load_state_dict(state)
        return float(roc_auc_score(unseen.abnormal, judged.describe(unseen.crops)["outlier"]))

    def follow(rows: Sequence[Sequence[float]]) -> None:
        write_curve(rows, COLUMNS, args.curve, args.picture)

    origin = {**training_origin(args), "code": " ".join(code("train_outlier_network"))}
    trainer = make_trainer(cases, args.seed, args.steps)
    course = train(trainer, judge, EVERY, args.checkpoint, origin, False, follow)
    if course.diverged:
        raise TrainingError(
            f"the training diverged after step {trainer.step}", "; begin with another seed"
        )
    save_network(args.weights, trainer.average, OUTLIER_EXPOSURE)
    kept = {"weights_sha256": file_sha256(args.weights), "nuclei": len(cases.abnormal)}
    kept |= {COLUMNS[-1]: course.rows[-1][-1]}
    record = simulated_record("train_outlier_network", origin, "cellsieve.simulation.cases")
    write_json(args.record, {**record, **kept})


if __name__ == "__main__":
    run(main)
