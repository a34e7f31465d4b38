"""Let an input that vanishes during a run fail its own job and no other."""

import contextlib
from collections.abc import Callable
from typing import Any

from snakemake import jobs


def let_jobs_fail_alone() -> None:
    """Make Snakemake start a job although one of its inputs has vanished.

    An image that is deleted, or a disk that is unplugged, after the plan was
    made would end the whole run: Snakemake waits for the file, then raises
    outside of any job. Started all the same, the job says what is missing,
    fails and is tried again, and the others finish.
    """
    jobs.wait_for_files = _without_error(jobs.wait_for_files)


def _without_error(wait_for_files: Callable) -> Callable:
    async def wait(*args: Any, **options: Any) -> None:
        with contextlib.suppress(OSError):
            await wait_for_files(*args, **options)

    return wait
