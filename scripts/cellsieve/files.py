"""Outputs that appear complete or not at all."""

import glob
import json
import os
import shutil
import socket
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)


@contextmanager
def atomic(path: Path | str) -> Iterator[Path]:
    """Give a path beside ``path`` to write to; rename it when the block ends.

    Works for a file and for a folder. What killed jobs left behind goes with
    the next try. Each process has a name of its own: a job that outlived its
    run cannot publish what its successor has half written.

    Parameters
    ----------
    path : path-like
        The final name. Its folder is made if needed.

    Yields
    ------
    Path
        A name in the same folder that does not exist yet and keeps the suffix.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = _own_part(path)
    try:
        yield part
        if path.is_dir():  # a folder cannot be renamed over a folder that is not empty
            _remove(path)
        part.replace(path)
    except BaseException:
        _remove(part)
        raise


@contextmanager
def scratch(path: Path | str) -> Iterator[Path]:
    """Give an empty folder beside ``path`` for what is needed only to make it.

    It is on the same disk as the results, which is made for large files. What
    killed jobs left behind goes with the next try.

    Parameters
    ----------
    path : path-like
        The output that is being made.

    Yields
    ------
    Path
        An empty folder; it goes when the block ends.
    """
    path = Path(path)
    folder = _own_part(path.with_name(f"{path.name}.d"))
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        _remove(folder)


def write_json(path: Path | str, content: Any) -> None:
    """Write ``content`` as indented JSON with sorted keys, atomically."""
    with atomic(path) as part:
        part.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def zip_folder(folder: Path, target: Path) -> None:
    """Pack a folder into an uncompressed zip whose bytes depend on its content alone.

    Parameters
    ----------
    folder : Path
        Packed with paths relative to it, in sorted order, all dated 1980-01-01.
    target : Path
        The zip file to write.
    """
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        for file in sorted(p for p in folder.rglob("*") if p.is_file()):
            info = zipfile.ZipInfo(file.relative_to(folder).as_posix(), _ZIP_EPOCH)
            with file.open("rb") as source, archive.open(info, "w", force_zip64=True) as out:
                shutil.copyfileobj(source, out, 1 << 20)


def _own_part(path: Path) -> Path:
    """Sweep the parts that others left of an output, and name this process' own."""
    for left in path.parent.glob(f".{glob.escape(path.name)}.part-*"):
        _remove(left)
    own = f"{socket.gethostname()}-{os.getpid()}"
    return path.with_name(f".{path.name}.part-{own}{path.suffix}")


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
