"""Command-line options that the trainings on simulated scenes share, and their record."""

import argparse
from typing import Any

from cellsieve.cli import positive, whole

_OF_THE_RESULT = ("seed", "steps", "scenes", "threads")


def add_training_options(options: argparse.ArgumentParser, steps: int) -> None:
    """Add the options of a training on simulated scenes; ``steps`` is the default."""
    options.add_argument("--steps", type=positive, default=steps)
    options.add_argument(
        "--scenes", type=positive, default=4000, help="simulated scenes to draw from"
    )
    options.add_argument("--seed", type=whole, default=0)
    options.add_argument("--threads", type=positive, default=2)
    options.add_argument("--checkpoint", required=True, help="is gone on from if it exists (.pt)")
    options.add_argument("--weights", required=True, help="output (.safetensors)")
    options.add_argument("--curve", required=True, help="output, a row every so many steps (.csv)")
    options.add_argument("--picture", required=True, help="output, the curve (.png)")
    options.add_argument("--record", required=True, help="output, where the weights come from")


def training_origin(args: argparse.Namespace) -> dict[str, int]:
    """Return the options on which the weights depend."""
    return {name: getattr(args, name) for name in _OF_THE_RESULT}


def simulated_record(
    script: str, origin: dict[str, int], scenes: str = "cellsieve.simulation.varied"
) -> dict[str, Any]:
    """Say where weights that were trained on simulated scenes come from."""
    from cellsieve.provenance import code, versions

    return {
        "data": f"simulated scenes ({scenes}); no real image, no label",
        **origin,
        "code": code(script),
        "versions": versions(),
    }
