"""The digest of a stage changes with its code and with nothing else."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from cellsieve import provenance
from cellsieve.provenance import SCRIPTS, closure, code, file_sha256

PROJECT = {
    "stage.py": "from cellsieve.pages import page\nprint(page.SIZE)\n",
    "other.py": "import cellsieve.alone\n",
    "cellsieve/__init__.py": "",
    "cellsieve/alone.py": "x = 1\n",
    "cellsieve/pages/__init__.py": '"""A package."""\n',
    "cellsieve/pages/page.py": (
        '"""What it is."""\n\n\ndef size():\n    """Say."""\n    return SIZE\n\n\nSIZE = 3\n'
    ),
    "cellsieve/pages/page.html.j2": "<p>{{ size }}</p>",
    "cellsieve/pages/.page.html.j2.swp": "what an editor leaves",
    "cellsieve/pages/sub.py": "def late():\n    from cellsieve import deep\n",
    "cellsieve/deep.py": "y = 2\n",
}


def digest(monkeypatch, folder, script="stage", **changed):
    """Digests of a script in a copy of the small project with some files changed."""
    monkeypatch.setattr(provenance, "SCRIPTS", folder)
    for name, text in {**PROJECT, **changed}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    return code(script)


def names(digests):
    return [line.split("@")[0] for line in digests]


def test_the_closure_follows_imports_into_packages(monkeypatch, tmp_path):
    reached = digest(monkeypatch, tmp_path)
    assert names(reached) == [
        "cellsieve/__init__.py",
        "cellsieve/pages/__init__.py",
        "cellsieve/pages/page.html.j2",
        "cellsieve/pages/page.py",
        "stage.py",
    ]
    assert names(code("other")) == ["cellsieve/__init__.py", "cellsieve/alone.py", "other.py"]


def test_an_import_inside_a_function_counts(monkeypatch, tmp_path):
    stage = "from cellsieve.pages.sub import late\n"
    assert "cellsieve/deep.py" in names(digest(monkeypatch, tmp_path, **{"stage.py": stage}))


PAGE = PROJECT["cellsieve/pages/page.py"]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("cellsieve/pages/page.py", f"# why\n{PAGE}# the end\n"),
        ("cellsieve/pages/page.py", PAGE.replace("What it is.", "Something else")),
        ("cellsieve/pages/page.py", PAGE.replace('    """Say."""\n', "")),
        ("cellsieve/pages/page.py", PAGE.replace("SIZE = 3", "\n\nSIZE = (\n    3\n)")),
        ("cellsieve/pages/__init__.py", ""),
        ("cellsieve/alone.py", "x = 2\n"),
        ("cellsieve/pages/sub.py", "z = 1\n"),
        ("cellsieve/pages/.page.html.j2.swp", "more"),
    ],
    ids=[
        "comment",
        "docstring",
        "no-docstring",
        "line-breaks",
        "package-docstring",
        "alone",
        "sibling",
        "swap",
    ],
)
def test_what_changes_nothing(monkeypatch, tmp_path, name, text):
    before = digest(monkeypatch, tmp_path / "a")
    assert digest(monkeypatch, tmp_path / "b", **{name: text}) == before


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("cellsieve/pages/page.py", PAGE.replace("SIZE = 3", "SIZE = 4")),
        ("cellsieve/pages/page.py", PAGE.replace("return SIZE", "return -SIZE")),
        ("cellsieve/pages/page.py", PAGE.replace("SIZE = 3", 'SIZE = 3\nNAME = "text"')),
        ("cellsieve/pages/page.html.j2", "<b>{{ size }}</b>"),
        ("cellsieve/__init__.py", "import os\n"),
    ],
    ids=["constant", "expression", "text", "template", "package"],
)
def test_what_changes_one_file(monkeypatch, tmp_path, name, text):
    before = digest(monkeypatch, tmp_path / "a")
    after = digest(monkeypatch, tmp_path / "b", **{name: text})
    assert names(set(before) ^ set(after)) == [name, name]


def test_a_stage_does_not_reach_the_modules_of_others():
    segment = {path.relative_to(SCRIPTS).as_posix() for path in closure("segment")}
    assert {"segment.py", "cellsieve/coarse/flooding.py", "cellsieve/tiles.py"} <= segment
    assert not segment & {"cellsieve/aggregation.py", "cellsieve/anomaly/nucleus_features.py"}
    assert not any("/report/" in name for name in segment)
    report = {path.name for path in closure("report")}
    assert {"page.html.j2", "style.css", "sort.js"} <= report


def test_file_digest(tmp_path):
    (tmp_path / "f").write_bytes(b"abc" * 10**6)
    assert file_sha256(tmp_path / "f") == hashlib.sha256(b"abc" * 10**6).hexdigest()


@pytest.fixture
def results(tmp_path):
    """What record_run.py reads of a run with one field."""
    (tmp_path / "qc.json").write_text(json.dumps({"image_sha256": "5e"}))
    (tmp_path / "model.json").write_text(json.dumps({"method": "features"}))
    (tmp_path / "cells.csv").write_text("cell\n1\n")
    (tmp_path / "calls.parquet").write_bytes(b"calls")
    row = ["f", "f.tif", str(tmp_path / "qc.json"), "s", str(tmp_path / "calls.parquet")]
    header = "field\timage\tqc\tslide\tslide_calls\n"
    (tmp_path / "m.tsv").write_text(header + "\t".join(row) + "\n")
    return tmp_path


def give(folder, **files):
    """Add columns with paths to the manifest."""
    header, row = (folder / "m.tsv").read_text().splitlines()
    lines = ["\t".join([header, *files]), "\t".join([row, *map(str, files.values())])]
    (folder / "m.tsv").write_text("\n".join(lines) + "\n")


def record(folder, config):
    command = [sys.executable, Path(SCRIPTS) / "record_run.py", "--fields", folder / "m.tsv"]
    command += ["--config", config, "--model", folder / "model.json"]
    command += ["--tables", folder / "cells.csv", "--record", folder / "record.json"]
    return subprocess.run([*map(str, command)], check=False, capture_output=True, text=True)


def test_the_record_names_inputs_code_versions_and_results(results):
    done = record(results, '{"seed": 3, "channels": {"dapi": "DAPI"}}')
    assert done.returncode == 0, done.stderr
    first = (results / "record.json").read_bytes()
    written = json.loads(first)
    assert written["inputs"] == [{"field": "f", "image": "f.tif", "sha256": "5e"}]
    assert written["seed"] == 3
    assert written["config"]["channels"] == {"dapi": "DAPI"}
    assert written["models"] == [{"method": "features"}]
    assert written["tables"] == {
        "cells.csv": file_sha256(results / "cells.csv"),
        "slides/s/calls.parquet": hashlib.sha256(b"calls").hexdigest(),
    }
    assert written["code"]["segment"] == code("segment")
    assert written["code"]["report"] == code("report")
    assert written["versions"]["scipy"]
    record(results, '{"seed": 3, "channels": {"dapi": "DAPI"}}')
    assert (results / "record.json").read_bytes() == first


def test_the_record_names_the_other_files_that_the_sheet_gives(results):
    (results / "labels.tif").write_bytes(b"labels")
    paths = {"given_nuclei": results / "labels.tif", "reference_nuclei": results / "absent.tsv"}
    give(results, **paths)
    assert record(results, '{"seed": 0}').returncode == 0
    (field,) = json.loads((results / "record.json").read_text())["inputs"]
    assert field == {
        **{"field": "f", "image": "f.tif", "sha256": "5e"},
        "nuclei": str(results / "labels.tif"),
        "nuclei_sha256": hashlib.sha256(b"labels").hexdigest(),
        "reference_nuclei": str(results / "absent.tsv"),
        "reference_nuclei_sha256": None,
    }
