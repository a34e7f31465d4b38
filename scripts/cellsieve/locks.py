"""Take away the lock that a killed run left behind, never that of a live one."""

import fcntl
import shutil
from pathlib import Path
from typing import IO


def release_stale_lock(folder: Path) -> IO[str] | None:
    """Remove Snakemake's lock in a folder unless another run is alive there.

    A run that is killed cannot remove its lock, and the next one would refuse
    to start. Here each run, a dry one too, also shares a lock of the operating
    system, which ends with the process, however it ends. Who can have it alone
    is alone.

    Parameters
    ----------
    folder : Path
        Snakemake's working folder, ``.snakemake``.

    Returns
    -------
    file or None
        To be kept open as long as the run lives; None where the file system
        cannot lock.
    """
    folder.mkdir(parents=True, exist_ok=True)
    file = (folder / "cellsieve.lock").open("a", encoding="utf-8")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder / "locks", ignore_errors=True)
    except BlockingIOError:
        pass  # another run is alive: Snakemake's own lock decides
    except OSError:
        file.close()
        return None
    fcntl.flock(file, fcntl.LOCK_SH)
    return file
