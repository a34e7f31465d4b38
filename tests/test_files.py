"""Outputs appear complete or not at all."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from cellsieve.files import atomic, write_json, zip_folder


def names(folder):
    return sorted(p.name for p in folder.iterdir())


def test_a_file_appears_when_the_block_ends(tmp_path):
    with atomic(tmp_path / "new" / "a.txt") as part:
        part.write_text("new")
        assert part.suffix == ".txt"
        assert not (tmp_path / "new" / "a.txt").exists()
    assert names(tmp_path / "new") == ["a.txt"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_interruption_leaves_the_old_file_and_nothing_else(tmp_path, error):
    (tmp_path / "a.txt").write_text("old")
    with pytest.raises(error), atomic(tmp_path / "a.txt") as part:
        part.write_text("half")
        raise error
    assert names(tmp_path) == ["a.txt"]
    assert (tmp_path / "a.txt").read_text() == "old"


def test_what_a_killed_job_left_is_overwritten(tmp_path):
    with atomic(tmp_path / "a.txt") as part:
        left = part
        part.write_text("x")
    left.mkdir()
    (left / "rest").write_text("of a killed job")
    with atomic(tmp_path / "a.txt") as part:
        assert not part.exists()
        part.write_text("new")
    assert names(tmp_path) == ["a.txt"]
    assert (tmp_path / "a.txt").read_text() == "new"


def test_a_folder_replaces_a_folder(tmp_path):
    for content in ("one", "two"):
        with atomic(tmp_path / "store") as part:
            part.mkdir()
            (part / content).write_text(content)
    assert names(tmp_path / "store") == ["two"]
    with pytest.raises(RuntimeError), atomic(tmp_path / "store") as part:
        part.mkdir()
        raise RuntimeError
    assert names(tmp_path) == ["store"]
    assert names(tmp_path / "store") == ["two"]


def test_json_is_sorted_and_keeps_unicode(tmp_path):
    write_json(tmp_path / "a.json", {"b": "µm", "a": None})
    text = (tmp_path / "a.json").read_text(encoding="utf-8")
    assert json.loads(text) == {"a": None, "b": "µm"}
    assert text.index('"a"') < text.index('"b"')


def test_a_zip_depends_on_content_alone(tmp_path):
    for name, order in (("one", "ab"), ("two", "ba")):
        (tmp_path / name / "deep").mkdir(parents=True)
        for letter in order:
            (tmp_path / name / "deep" / letter).write_text(letter)
        zip_folder(tmp_path / name, tmp_path / f"{name}.zip")
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()


def test_a_part_of_another_name_is_left_alone(tmp_path):
    with atomic(tmp_path / "a-1.tif") as mine:
        mine.write_text("mine")
        with atomic(tmp_path / "1.tif") as other:
            other.write_text("other")
        assert mine.read_text() == "mine"


def test_a_job_that_outlived_its_run_cannot_publish_a_half_written_file(tmp_path):
    target = tmp_path / "a.txt"
    code = (
        "import sys; from cellsieve.files import atomic\n"
        "with atomic(sys.argv[1]) as part:\n"
        "    part.write_text('old'); print('ready', flush=True); sys.stdin.read()\n"
    )
    orphan = subprocess.Popen(
        [sys.executable, "-c", code, str(target)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1] / "scripts")},
    )
    assert orphan.stdout.readline() == b"ready\n"
    with atomic(target) as part:
        part.write_text("new, half")
        orphan.communicate()
        assert orphan.returncode != 0
        assert not target.exists()
        part.write_text("new, whole")
    assert target.read_text() == "new, whole"
