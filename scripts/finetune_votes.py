"""Train the vote network on a run's own pseudo-labels."""

from collections.abc import Sequence

from cellsieve.cli import parser, run
from cellsieve.finetune_options import add_finetune_options, finetune_and_write


def main(argv: Sequence[str] | None = None) -> None:
    """Train, or go on from a checkpoint; write weights, curve and record."""
    options = parser(__doc__)
    add_finetune_options(options)
    finetune_and_write(options.parse_args(argv), "votes")


if __name__ == "__main__":
    run(main)
