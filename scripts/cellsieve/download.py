"""A weight file from the network: resumed after a break, checked whole, then put in its place."""

import fcntl
import hashlib
import http.client
import logging
import os
import re
import ssl
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http import HTTPStatus
from io import FileIO
from pathlib import Path
from urllib.error import HTTPError, URLError

from tqdm import tqdm

from cellsieve.weights import WeightFile, check

log = logging.getLogger(__name__)

_BLOCK = 1 << 18
_PASSING = {408, 425, 429, 500, 502, 503, 504}  # HTTP errors that may be gone a moment later
_PROGRESS = 100  # as one part of so many, a try counts as a success


class _BrokenError(Exception):
    """A try failed; another one may not."""


class _RefusedError(Exception):
    """Another try would fail as well."""


def fetch(
    weights: WeightFile,
    folder: Path | str,
    stall: float = 60.0,
    waits: Sequence[float] = (1, 5, 20),
) -> Path:
    """Return where a weight file lies; download it if it is not there.

    What came before a break stays beside the file's place, in a hidden file
    that ends in ``.part``, for this or a later process to go on from. One
    process downloads at a time, the others wait for it. Proxies are those of
    the environment (``https_proxy``, ``http_proxy``, ``no_proxy``).

    Parameters
    ----------
    weights : WeightFile
        Which file.
    folder : path-like
        Where downloaded weights lie. Made if needed.
    stall : float
        Seconds without a byte after which a connection is given up.
    waits : sequence of float
        Seconds before each further try.

    Returns
    -------
    Path
        A file that has the SHA-256 of ``weights``.

    Raises
    ------
    ConnectionError
        If the file cannot be downloaded or another one came; the message says
        which file to put where.
    UserError
        If there is a file already, but another one; it is left as it is.
    OSError
        If the disk is full or cannot be written.
    """
    target = weights.place(folder)
    if weights.url is None or target.exists():
        return check(weights, folder)
    target.parent.mkdir(parents=True, exist_ok=True)
    with _own_part(target) as part:
        if not target.exists():  # no other process was faster
            try:
                _try_repeatedly(weights, part, stall, waits)
            except (_BrokenError, _RefusedError) as error:
                raise ConnectionError(
                    f"{weights.name} cannot be downloaded: {error}; {weights.by_hand(folder)}"
                ) from error
            except OSError as error:
                what = f"{error.strerror}; {weights.by_hand(folder)}"
                raise OSError(error.errno, what, error.filename) from error
            Path(part.name).replace(target)
    return target


@contextmanager
def _own_part(target: Path) -> Iterator[FileIO]:
    """Open what has come of a file so far, for one process at a time."""
    path = target.with_name(f".{target.name}.part")
    while True:
        with path.open("a+b", buffering=0) as part:
            _wait_for_turn(part)
            if not _is_at(path, part):  # the process before this one has put it in its place
                continue
            try:
                yield part
            finally:
                if _is_at(path, part) and not os.fstat(part.fileno()).st_size:
                    path.unlink()
            return


def _wait_for_turn(part: FileIO) -> None:
    try:
        fcntl.flock(part, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        log.info("another process is downloading %s; waiting for it", part.name)
        fcntl.flock(part, fcntl.LOCK_EX)
    except OSError as error:  # what two processes mix up has a wrong SHA-256 and is not used
        log.warning("%s: no locks (%s); do not download twice at a time", part.name, error.strerror)


def _is_at(path: Path, file: FileIO) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False


def _try_repeatedly(
    weights: WeightFile, part: FileIO, stall: float, waits: Sequence[float]
) -> None:
    left = list(waits)
    while True:
        begun = os.fstat(part.fileno()).st_size
        try:
            return _try(weights, part, stall)
        except _BrokenError as error:
            # a line that breaks often gets there all the same
            if os.fstat(part.fileno()).st_size > begun + weights.bytes / _PROGRESS:
                left = list(waits)
            if not left:
                raise
            wait = left.pop(0)
            log.warning("%s: %s; trying again in %g s", weights.name, error, wait)
            time.sleep(wait)


def _try(weights: WeightFile, part: FileIO, stall: float) -> None:
    """Go on to the end of a file and check it."""
    begun = os.fstat(part.fileno()).st_size
    try:
        if begun < weights.bytes:
            _receive(weights, part, begun, stall)
        os.fsync(part.fileno())
        part.seek(0)
        found = hashlib.file_digest(part, "sha256").hexdigest()
        if found != weights.sha256:
            part.truncate(0)
    except OSError as error:  # of the disk: those of the network have become others
        what = f"{error.strerror}; {weights.name} takes {weights.bytes} bytes"
        raise OSError(error.errno, what, part.name) from error
    if found == weights.sha256:
        return
    if begun:  # what an earlier try left may have been of another file
        raise _BrokenError("the parts of two tries do not fit together")
    raise _RefusedError(f"{weights.url} gives another file (sha256 {found})")


def _receive(weights: WeightFile, part: FileIO, begun: int, stall: float) -> None:
    """Append to ``part`` what is missing of a file."""
    with _ask(weights.url, begun, stall) as answer:
        position = _first_byte(answer)
        if position not in (0, begun):
            part.truncate(0)
            raise _BrokenError(f"{weights.url} has no byte {begun} to go on from")
        _require_size(answer, position, weights)
        if position < begun:
            part.truncate(0)
        with tqdm(
            desc=weights.file_name,
            total=weights.bytes,
            initial=position,
            unit="B",
            unit_scale=True,
            disable=None,
        ) as bar:
            # what is too long is refused by its SHA-256
            while position <= weights.bytes and (block := _read(answer)):
                position += len(block)
                _write(part, block)
                bar.update(len(block))
    if position < weights.bytes:
        raise _BrokenError(f"broken off after {position} of {weights.bytes} bytes")


def _ask(url: str, begun: int, stall: float) -> http.client.HTTPResponse:
    headers = {"User-Agent": "cellsieve"} | ({"Range": f"bytes={begun}-"} if begun else {})
    request = urllib.request.Request(url, headers=headers)
    try:
        return urllib.request.urlopen(request, timeout=stall)
    except HTTPError as error:
        if error.code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            return error
        error.close()
        kind = _BrokenError if error.code in _PASSING else _RefusedError
        raise kind(f"HTTP error {error.code} ({error.reason}) at {url}") from error
    except URLError as error:
        untrusted = isinstance(error.reason, ssl.SSLCertVerificationError)
        kind = _RefusedError if untrusted else _BrokenError
        raise kind(f"no connection to {url} ({error.reason})") from error
    except (OSError, http.client.HTTPException) as error:
        raise _BrokenError(f"no connection to {url} ({_reason(error)})") from error


def _first_byte(answer: http.client.HTTPResponse) -> int:
    """Return which byte of the file comes first: 0 if the server ignores ranges, -1 if none."""
    if answer.status == HTTPStatus.OK:
        return 0
    span = re.fullmatch(r"bytes (\d+)-.*", answer.headers.get("Content-Range", ""))
    return int(span[1]) if span else -1


def _require_size(answer: http.client.HTTPResponse, position: int, weights: WeightFile) -> None:
    """Refuse at once what is of another size, as a proxy's page for logging in is."""
    length = answer.headers.get("Content-Length", "")
    if length.isdigit() and position + int(length) != weights.bytes:
        kind = answer.headers.get_content_type()
        raise _RefusedError(
            f"{weights.url} gives another file ({position + int(length)} bytes of {kind})"
        )


def _read(answer: http.client.HTTPResponse) -> bytes:
    try:
        return answer.read1(_BLOCK)
    except (OSError, http.client.HTTPException) as error:
        raise _BrokenError(f"connection lost ({_reason(error)})") from error


def _reason(error: Exception) -> str:
    return str(error) or type(error).__name__


def _write(part: FileIO, block: bytes) -> None:
    rest = memoryview(block)
    while rest:
        rest = rest[part.write(rest) :]
