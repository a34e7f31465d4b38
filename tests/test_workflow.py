"""What a run plans: what changed and what follows from it, and nothing else."""

import re
import shutil

import numpy as np
import pandas as pd
import pytest
from checkout import NORMAL, PATIENT, Checkout, draw, make_checkout, write_field

from cellsieve.tables import read_table

OTHER = {"field": "other", "image": "other.ome.tif", "slide": "O", "patient": "p2"}
FIELDS = ("normal", "patient", "other")
SLIDES = ("N", "P", "O")
END = ["aggregate", "record", "report"]
GPU_RULES = ("segment", "build_reference", "score_anomaly")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Run three fields of three slides to the end, as if there were one GPU; keep the log."""
    made = make_checkout(tmp_path_factory.mktemp("workflow") / "checkout")
    for seed, row in enumerate((NORMAL, PATIENT)):
        write_field(made.folder / "in" / row["image"], draw(seed))
    # more than the megabyte up to which Snakemake itself looks at the content
    rest = np.random.default_rng(9).integers(0, 4096, (6, 256, 256), np.uint16)
    names = ["DAPI", "Aqua", "Gold", *"abcdef"]
    write_field(made.folder / "in/other.ome.tif", np.concatenate([draw(2), rest]), names)
    made.write_sheet(NORMAL, PATIENT, OTHER)
    made.log = made.run("--cores", 3, "--config", "gpus=1").stdout
    return made


@pytest.fixture
def changed(finished, tmp_path):
    """Return a copy of the finished run, elsewhere, to be changed."""
    shutil.copytree(finished.folder, tmp_path / "moved", symlinks=True)
    return Checkout(tmp_path / "moved")


def every(*rules, of=FIELDS):
    return [f"{rule} {name}" for rule in rules for name in of]


CALLS = [*every("call_slide", of=SLIDES), *every("export_field"), *END]
SCORES = [*every("score_anomaly"), *CALLS]
MODEL = ["build_reference models", *SCORES]
NUCLEI = [*every("segment", "measure", "detect_signals"), *MODEL]


def test_fresh_checkout_plans_the_demo(tmp_path):
    made = make_checkout(tmp_path / "fresh")
    made.configfile = None
    plan = made.plan()
    assert len([name for name in plan if name.startswith("simulate ")]) >= 6
    assert set(END) < set(plan)


def test_a_list_that_no_field_is_for_is_refused_in_one_line(tmp_path):
    made = make_checkout(tmp_path / "fresh")
    made.configfile = None
    done = made.run("--cores", 1, "results/manifests/training.tsv", check=False)
    assert done.returncode == 1
    assert done.stdout.splitlines()[-1] == (
        "error: resources/demo/fields.tsv: no field is for training; see docs/input.md"
    )


def test_finished_moved_and_with_other_cores_nothing_is_planned(changed):
    done = changed.run("--dry-run", "--cores", 7)
    assert "Nothing to be done" in done.stdout
    assert done.stdout.count("rule ") == 0


def test_touched_files_rerun_nothing(changed):
    assert (changed.folder / "in/other.ome.tif").stat().st_size > 1_000_000
    for file in changed.folder.rglob("*"):
        if file.is_file() and ".snakemake" not in file.parts:
            file.touch()
    assert changed.plan() == []


def test_a_new_field_plans_its_own_jobs_and_its_slide(changed):
    write_field(changed.folder / "in/new.ome.tif", draw(5))
    new = {"field": "new", "image": "new.ome.tif", "slide": "P", "patient": "p1"}
    changed.write_sheet(NORMAL, PATIENT, OTHER, new)
    own = every("preprocess", "segment", "measure", "detect_signals", "score_anomaly", of=["new"])
    slide = ["call_slide P", *every("export_field", of=["new", "patient"])]
    assert changed.plan() == sorted([*own, *slide, "manifest run", "manifest slides/P", *END])


def test_a_changed_image_plans_its_own_jobs_and_its_slide(changed):
    write_field(changed.folder / "in/other.ome.tif", draw(6))
    own = every("preprocess", "segment", "measure", "detect_signals", "score_anomaly", of=["other"])
    assert changed.plan() == sorted([*own, "call_slide O", "export_field other", *END])


@pytest.mark.parametrize(
    ("option", "planned"),
    [
        ("calls={q: 0.123}", CALLS),
        ("signals={minimum_contrast: 4.56}", [*every("detect_signals"), *CALLS]),
        ("seed=1", MODEL),
        ("segmenter={coarse: other}", NUCLEI),
        ("projection=max", [*every("preprocess"), *NUCLEI]),
        ("report={top: 7}", ["record", "report"]),
        ("gpus=0", []),
    ],
)
def test_an_option_reruns_its_stage_and_what_follows(changed, option, planned):
    schema = changed.folder / "workflow/schemas/config.schema.yaml"
    schema.write_text(schema.read_text().replace("enum: [watershed", "enum: [other, watershed"))
    assert changed.plan("--config", option) == sorted(planned)


@pytest.mark.parametrize(
    ("file", "added", "planned"),
    [
        ("cellsieve/coarse/flooding.py", "ADDED = 1", NUCLEI),
        ("cellsieve/fish/spots.py", "ADDED = 1", [*every("detect_signals"), *CALLS]),
        ("cellsieve/fish/fish_calls.py", "ADDED = 1", CALLS),
        ("cellsieve/report/style.css", ".added { color: red; }", ["record", "report"]),
        ("record_run.py", "ADDED = 1", ["record", "report"]),
    ],
)
def test_an_edited_algorithm_reruns_its_stage_and_what_follows(changed, file, added, planned):
    with (changed.folder / "scripts" / file).open("a", encoding="utf-8") as script:
        script.write(f"\n{added}\n")
    assert changed.plan() == sorted(planned)


def test_comments_and_docstrings_rerun_nothing(changed):
    for file in (changed.folder / "scripts").rglob("*.py"):
        text = file.read_text(encoding="utf-8")
        file.write_text("# a remark\n" + text.replace('"""', '"""Edited. ', 1), encoding="utf-8")
    assert changed.plan() == []


def test_frozen_weights_take_the_learning_out_of_the_plan(changed):
    shutil.copytree(changed.results / "models/reference", changed.folder / "frozen")
    plan = changed.plan("--config", "results=again", "anomaly={weights: frozen}")
    assert "score_anomaly patient" in plan
    assert not [name for name in plan if "build_reference" in name or "models" in name]
    # also where a row is marked as reference, and where nothing else was run before
    plan = changed.plan("--config", "anomaly={weights: frozen}")
    assert plan == sorted(SCORES)


def test_gpu_jobs_run_one_at_a_time(finished):
    """The finished run had 3 cores and 3 fields ready to be segmented."""
    assert re.search(r"^Provided resources:.*\bgpu=\D*1\b", finished.log, re.MULTILINE)
    running, seen = set(), set()
    for rule, block, ended in re.findall(
        r"^(?:local)?rule (\w+):\n((?:    .*\n)*)|^Finished jobid: (\d+)", finished.log, re.M
    ):
        if rule in GPU_RULES:
            assert "gpu=1" in block
            running.add(re.search(r"jobid: (\d+)", block).group(1))
            seen.add(rule)
        elif rule:
            assert "gpu" not in block
        running.discard(ended)
        assert len(running) <= 1
    assert seen == set(GPU_RULES)


def test_without_a_gpu_nothing_is_serialised(finished):
    jobs = finished.jobs("--forceall", "--config", "gpus=0")
    assert {job.rule for job in jobs} > set(GPU_RULES)
    assert not [job for job in jobs if "gpu" in job.resources]


def test_slurm_profile_plans(changed):
    profile = "workflow/profiles/slurm"
    jobs = changed.jobs("--forceall", "--workflow-profile", profile, "--config", "gpus=1")
    assert {job.name for job in jobs} > set(NUCLEI)
    assert all("gpu=1" in job.resources for job in jobs if job.rule in GPU_RULES)


def test_dapi_alone_without_a_reference(tmp_path):
    """The user's channels replace the default ones; scores are relative to the slide."""
    made = make_checkout(tmp_path / "checkout")
    write_field(made.folder / "in/lone.tif", draw(3))
    made.write_sheet({"field": "lone", "image": "lone.tif"})
    made.configure(channels="{dapi: 0}")
    done = made.run("--cores", 2, "--printshellcmds")
    assert set(re.findall(r"--channel (\S+)", done.stdout)) == {"dapi=0"}
    assert (made.results / "slides/lone/reference/bank.parquet").exists()
    assert not (made.results / "models").exists()
    cells = pd.read_csv(made.results / "cells.csv")
    assert len(cells) == 49
    assert cells["anomaly_z"].notna().sum() > 20
    assert cells["anomaly_p"].isna().all()
    assert cells["anomaly_q"].isna().all()
    assert not [name for name in cells if "aqua" in name or "gold" in name]
    assert len(read_table(made.results / "fields/lone/signals.parquet")) == 0
    assert "without p and q" in (made.results / "report/index.html").read_text(encoding="utf-8")
