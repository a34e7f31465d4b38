"""Train Cellpose's U-Net on a run's own pseudo-labels."""

from collections.abc import Sequence

from cellsieve.cli import parser, run
from cellsieve.finetune_options import add_finetune_options, finetune_and_write


def main(argv: Sequence[str] | None = None) -> None:
    """Train, or go on from a checkpoint; write weights, curve and record."""
    options = parser(__doc__)
    add_finetune_options(options)
    options.add_argument(
        "--network", default="narrow", choices=["narrow", "standard", "cyto3", "nuclei"]
    )
    args = options.parse_args(argv)
    if args.network in ("cyto3", "nuclei") and not args.start:
        options.error(f"--network {args.network} goes on from Cellpose's model: give it as --start")
    finetune_and_write(args, "cellpose", args.network)


if __name__ == "__main__":
    run(main)
