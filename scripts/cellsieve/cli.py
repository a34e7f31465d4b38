"""What every script shares: logging, one-line errors, honest exit codes."""

import argparse
import logging
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from cellsieve.errors import BadFieldError, UserError

EXIT_FAILED = 1
EXIT_USAGE = 2


def parser(description: str) -> argparse.ArgumentParser:
    """Return an argument parser that shows defaults in its help.

    Parameters
    ----------
    description : str
        What the script does; usually its module docstring.
    """
    return argparse.ArgumentParser(
        description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )


def add_channel_options(options: argparse.ArgumentParser) -> None:
    """Add the options that say which planes of an image are read, and how."""
    options.add_argument(
        "--channel",
        action="append",
        required=True,
        metavar="ROLE=NAME",
        help="a channel's role and its name or index in the image; DAPI first, then the probes",
    )
    options.add_argument(
        "--projection",
        default="refuse",
        choices=["refuse", "max"],
        help="how a z-stack becomes one plane",
    )


def run(main: Callable[[Sequence[str] | None], None]) -> None:
    """Call a script's ``main`` and turn foreseeable trouble into one line.

    Parameters
    ----------
    main : callable
        Takes the command-line arguments (``None`` means ``sys.argv``).

    Notes
    -----
    Exit codes: 0 done; 2 a mistake of the user's; 1 a fault of the machine
    (missing file, permission, disk, memory). Anything else is a bug and keeps
    its traceback.
    """
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr
    )
    try:
        main(None)
    except (UserError, BadFieldError) as error:
        sys.exit(_complain(str(error), EXIT_USAGE))
    except OSError as error:
        where = f": {error.filename}" if error.filename else ""
        sys.exit(_complain(f"{error.strerror or error}{where}", EXIT_FAILED))
    except MemoryError:
        sys.exit(_complain("out of memory; give the job more mem_mb", EXIT_FAILED))


def positive(text: str) -> int:
    """Parse a whole number from 1; for ``type=`` of an option."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r}: allowed: a whole number from 1")
    return int(text)


def whole(text: str) -> int:
    """Parse a whole number from 0; for ``type=`` of an option."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r}: allowed: a whole number from 0")
    return int(text)


def existing_file(text: str) -> Path:
    """Argparse type: the path of a file that must exist."""
    path = Path(text)
    if not path.is_file():
        raise argparse.ArgumentTypeError(f"no such file: {text}")
    return path


def _complain(message: str, code: int) -> int:
    print(f"error: {' '.join(message.split())}", file=sys.stderr)
    return code
