"""What the scripts that train a segmenter on a run's fields share."""

import argparse
import logging
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cellsieve.cli import existing_file, positive, whole
from cellsieve.errors import TrainingError, UserError

if TYPE_CHECKING:
    from cellsieve.training.recipe import Recipe

log = logging.getLogger(__name__)


def add_finetune_options(options: argparse.ArgumentParser) -> None:
    """Add the options of a training on the fields of a manifest."""
    options.add_argument("--fields", required=True, type=existing_file, help="manifest (.tsv)")
    options.add_argument(
        "--labels",
        default="pseudo",
        choices=["pseudo", "truth"],
        help="pseudo-labels, or labels that people drew (benchmarks only)",
    )
    options.add_argument("--fold", type=_fold, help="K/N: leave out every Nth field, from K on")
    options.add_argument(
        "--start",
        type=existing_file,
        help="weights to begin with: of this engine, or a Cellpose model",
    )
    options.add_argument("--steps", type=positive, default=1500, help="of a round")
    options.add_argument(
        "--rounds",
        type=int,
        default=1,
        choices=[1, 2],
        help="2: once more, with the first round's confident nuclei as labels too",
    )
    options.add_argument("--seed", type=whole, default=0)
    options.add_argument("--threads", type=positive, default=2, help="of PyTorch on a CPU")
    options.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda"])
    options.add_argument(
        "--checkpoint", required=True, type=Path, help="for going on; .1 and .2 are added"
    )
    options.add_argument(
        "--on-failure",
        default="stop",
        choices=["stop", "record"],
        help="a training that teaches nothing: stop, or write that in place of the weights",
    )
    options.add_argument("--weights", required=True, help="output (.safetensors)")
    options.add_argument("--curve", required=True, help="output (.csv)")
    options.add_argument("--picture", required=True, help="output, the curve (.png)")
    options.add_argument("--record", required=True, help="output, where the weights come from")


def finetune_and_write(args: argparse.Namespace, engine: str, variant: str | None = None) -> None:
    """Train as the options say; write weights, curve and record.

    Parameters
    ----------
    args : Namespace
        Of `add_finetune_options`.
    engine, variant : str
        As `cellsieve.training.recipes.load_recipe` takes them.
    """
    import torch

    from cellsieve.devices import choose_device
    from cellsieve.files import write_json
    from cellsieve.segmenters import save_failure, save_segmenter
    from cellsieve.training.curve import write_curve
    from cellsieve.training.finetuning import Options, checkpoints, finetune
    from cellsieve.training.recipes import load_recipe
    from cellsieve.training_fields import cut_training_windows

    torch.set_num_threads(args.threads)
    recipe = load_recipe(engine, variant)
    start = _start(args.start, recipe)
    columns = ("step", "loss", recipe.figure, "agreement")

    def follow(rows: list[list[float]]) -> None:
        write_curve(rows, columns, args.curve, args.picture)

    plan = Options(args.steps, args.rounds, args.seed, args.threads, choose_device(args.device))
    windows = cut_training_windows(args.fields, args.labels, args.seed, args.fold)
    follow([])  # also a training that fails before its first step has a curve
    try:
        learned = finetune(recipe, windows, start, plan, args.checkpoint, follow)
    except TrainingError as error:
        if args.on_failure == "stop":
            raise
        log.warning("%s", error)
        save_failure(args.weights, engine, error.reason)
        record = {"kept": "nothing", "reason": error.reason}
    else:
        record = learned.record
        notes = {**recipe.notes, "kept": record["kept"]}
        save_segmenter(args.weights, learned.state, recipe.engine, notes)
        follow(learned.rows)
    origin = {**_origin(args, engine, recipe.notes), "device": plan.device}
    write_json(args.record, {**record, **origin})
    for file in checkpoints(args.checkpoint):
        file.unlink(missing_ok=True)
    log.info("kept: %s", record["kept"])


def _start(path: Path | None, recipe: "Recipe") -> Any:
    """Read first weights, which must be of the same network."""
    from cellsieve.segmenters import read_weights
    from cellsieve.state_dicts import load_state_dict

    if path is None:
        return None
    if path.suffix != ".safetensors":
        state = load_state_dict(path)
    else:
        state, notes = read_weights(path, recipe.engine)
        for name, wanted in recipe.notes.items():
            if notes.get(name) != wanted:
                raise UserError(f"{path}: {name} {notes.get(name)}, but {wanted} is asked for")
    try:
        recipe.build(state)
    except RuntimeError as error:
        fault = " ".join(str(error).split())[:200]
        raise UserError(f"{path}: not weights of {recipe.engine}: {fault}") from error
    return state


def _origin(args: argparse.Namespace, engine: str, notes: Any) -> dict[str, Any]:
    from cellsieve.provenance import code, file_sha256, versions

    return {
        "weights_sha256": file_sha256(args.weights),
        "engine": engine,
        **notes,
        "learned_from": "pseudo-labels" if args.labels == "pseudo" else "labels of people",
        "start_sha256": file_sha256(args.start) if args.start else None,
        "fold": "{}/{}".format(*args.fold) if args.fold else None,
        **{name: getattr(args, name) for name in ("steps", "rounds", "seed", "threads")},
        "code": code(f"finetune_{engine}"),
        "versions": versions(),
    }


def _fold(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"(\d+)/(\d+)", text)
    if not found or not int(found[1]) < int(found[2]):
        raise argparse.ArgumentTypeError(f"{text!r}: allowed: K/N, K a number from 0 below N")
    return int(found[1]), int(found[2])
