"""A run that is killed, anywhere, loses nothing: the next one ends with the same bytes."""

import contextlib
import hashlib
import os
import shutil
import signal

import psutil
import pytest
from checkout import NORMAL, PATIENT, draw, kill, make_checkout, wait_for, write_field

ONE_CORE = ("--cores", 1)
STAGES = {  # what each stage writes first, before it has its name
    "preprocess": "fields/*/.dapi.zarr.zip.d.part-*",
    "segment": "fields/*/.nuclei.tif*.part-*",
    "measure": "fields/*/.measurements.parquet.part-*",
    "detect_signals": "fields/*/.signals.*.part-*",
    "build_reference": "models/reference/.*.part-*",
    "score_anomaly": "fields/*/.anomaly*.part-*",
    "call_slide": "slides/*/.*.part-*",
    "export_field": "fields/*/.*.part-*",
    "aggregate": ".*.part-*",
    "record_run": ".*.part-*",
    "report": "report/.*.part-*",
}
# here the jobs outlive the run that started them, and write while the next one does
ORPHANED = ("segment", "export_field")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Run two fields to the end on two cores, undisturbed."""
    made = make_checkout(tmp_path_factory.mktemp("whole") / "checkout")
    for seed, row in enumerate((NORMAL, PATIENT)):
        write_field(made.folder / "in" / row["image"], draw(seed))
    made.write_sheet(NORMAL, PATIENT)
    made.run("--cores", 2)
    return made


@pytest.fixture
def begun(whole, tmp_path):
    """Return a checkout with the same input in which nothing was computed."""
    made = make_checkout(tmp_path / "checkout")
    shutil.copytree(whole.folder / "in", made.folder / "in", dirs_exist_ok=True)
    return made


def digests(checkout):
    """Return the SHA-256 of every output; logs and benchmarks hold times."""
    files = {
        file.relative_to(checkout.results).as_posix(): file
        for file in checkout.results.rglob("*")
        if file.is_file()
    }
    return {
        name: hashlib.sha256(file.read_bytes()).hexdigest()
        for name, file in files.items()
        if not name.startswith(("logs/", "benchmarks/"))
    }


def start_until_one_writes(checkout, stages):
    """Start a run; return it and the first of the stages that is in the middle of its work."""
    logs = checkout.results / "logs"
    run = checkout.start(*ONE_CORE)

    def started():
        return [s for s in stages if (logs / s).exists() or (logs / f"{s}.log").exists()]

    begun = wait_for(started, run)
    assert begun, f"the run ended without {stages}"
    stage = begun[0]

    def writes():
        return any(checkout.results.glob(STAGES[stage])) or not job(run, f"scripts/{stage}.py")

    wait_for(lambda: job(run, f"scripts/{stage}.py"), run)
    wait_for(writes, run)
    return run, stage


def job(run, script):
    """Return the running process of a script, if there is one."""
    for child in psutil.Process(run.pid).children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            if script in child.cmdline():  # not its shell, which has it inside a longer word
                return child
    return None


def test_killed_in_every_stage_and_started_again(begun, whole):
    left = set(STAGES)
    while left:
        run, stage = start_until_one_writes(begun, left)
        kill(run, group=stage not in ORPHANED)
        left.remove(stage)
    begun.run(*ONE_CORE)
    assert digests(begun) == digests(whole)
    assert begun.plan() == []


def test_a_killed_job_is_tried_again(begun, whole):
    run = begun.start(*ONE_CORE, "--until", "preprocess")
    wait_for(lambda: job(run, "scripts/preprocess.py"), run)
    job(run, "scripts/preprocess.py").kill()
    assert run.wait() == 0
    expected = {name: found for name, found in digests(whole).items() if name in digests(begun)}
    assert len([name for name in expected if name.endswith(".zarr.zip")]) == 2
    assert digests(begun) == expected


def test_a_second_run_at_once_is_refused_and_the_first_goes_on(begun):
    run = begun.start(*ONE_CORE, "--until", "preprocess")
    wait_for((begun.results / "logs/preprocess").exists, run)
    os.killpg(run.pid, signal.SIGSTOP)  # so that it is alive for as long as this takes
    assert "preprocess patient" in begun.plan()
    second = begun.run(*ONE_CORE, check=False)
    os.killpg(run.pid, signal.SIGCONT)
    assert second.returncode != 0
    assert "locked" in second.stdout
    assert "Traceback" not in second.stdout
    assert run.wait() == 0


def test_everything_computed_again_gives_the_same_bytes(whole):
    before = digests(whole)
    whole.run("--cores", 2, "--forceall")
    assert digests(whole) == before
