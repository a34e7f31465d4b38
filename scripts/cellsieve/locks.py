"""Take away the lock that a killed run left behind, never that of a live one."""

import fcntl
import shutil
from pathlib import Path
from typing import IO


def release_stale_lock(folder: Path) -> IO[str] | None:
    """Remove Snakemake's lock in a folder unless another run holds it.

    A run that is killed cannot remove its lock, and the next one would refuse
    to start. Here each run also holds a lock of the operating system, which
    ends with the process, however it ends.

    Parameters
    ----------
    folder : Path
        Snakemake's working folder, ``.snakemake``.

    Returns
    -------
    file or None
        To be kept open as long as the run lives; None when another run is
        alive, or when the file system cannot lock.
    """
    folder.mkdir(parents=True, exist_ok=True)
    file = (folder / "cellsieve.lock").open("a", encoding="utf-8")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        return None
    shutil.rmtree(folder / "locks", ignore_errors=True)
    return file
