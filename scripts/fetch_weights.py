"""Download a file of weights, or check the one that is there.

Prints where the file lies. An interrupted download goes on where it broke off.
Proxies are taken from https_proxy, http_proxy and no_proxy.
"""

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path

from cellsieve.cli import existing_file, parser, run
from cellsieve.errors import UserError

log = logging.getLogger(__name__)


def arguments() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    cli = parser(__doc__)
    cli.add_argument(
        "--models", type=existing_file, required=True, help="list of weight files (models.yaml)"
    )
    cli.add_argument("--name", required=True, help="of the weights, as in the list")
    cli.add_argument("--folder", type=Path, required=True, help="where downloaded weights lie")
    return cli


def main(argv: Sequence[str] | None = None) -> None:
    """Parse the command line, fetch the file, print where it lies."""
    options = arguments().parse_args(argv)
    from cellsieve.download import fetch
    from cellsieve.weights import read_catalogue

    catalogue = read_catalogue(options.models)
    if options.name not in catalogue:
        raise UserError(f"--name {options.name}: must be one of {', '.join(catalogue)}")
    file = fetch(catalogue[options.name], options.folder)
    log.info("%s: sha256 %s", file, catalogue[options.name].sha256)
    print(file)


if __name__ == "__main__":
    run(main)
