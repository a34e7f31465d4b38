"""The comparison of a run with known truth, by its command line."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile

SCRIPT = Path(__file__).parents[1] / "scripts" / "evaluate.py"


def squares(*corners, side=10, size=60):
    labels = np.zeros((size, size), np.uint16)
    for label, (y, x) in enumerate(corners, 1):
        labels[y : y + side, x : x + side] = label
    return labels


def test_command_line(tmp_path):
    truth, found = squares((0, 0), (20, 20)), squares((0, 0), (20, 20), (45, 0))
    tifffile.imwrite(tmp_path / "t.labels.tif", truth)
    tifffile.imwrite(tmp_path / "n.tif", found)
    (tmp_path / "run.tsv").write_text(
        f"field\tnuclei\ttruth\na\t{tmp_path}/n.tif\t{tmp_path}/t.labels.tif\n"
        f"b\t{tmp_path}/n.tif\t\n",
        encoding="utf-8",
    )
    command = [sys.executable, SCRIPT, "--fields", tmp_path / "run.tsv"]
    command += ["--table", tmp_path / "out.csv"]
    done = subprocess.run(list(map(str, command)), check=True, capture_output=True, text=True)
    summary = json.loads(done.stdout)
    assert summary["fields"] == 1
    assert summary["f1"]["pooled"] == pytest.approx(4 / 5)
    assert summary["count_error"]["mean"] == 1
    table = pd.read_csv(tmp_path / "out.csv")
    assert table["field"].tolist() == ["a"]
    assert table["ap95"].tolist() == pytest.approx([2 / 3])
    (tmp_path / "run.tsv").write_text("field\tnuclei\ttruth\na\tx\t\n", encoding="utf-8")
    done = subprocess.run(list(map(str, command)), check=False, capture_output=True, text=True)
    assert done.returncode == 2
    assert "no field has a truth" in done.stderr


def test_a_truth_of_another_size_is_one_line(tmp_path):
    tifffile.imwrite(tmp_path / "t.tif", squares((0, 0), size=50))
    tifffile.imwrite(tmp_path / "n.tif", squares((0, 0)))
    (tmp_path / "run.tsv").write_text(
        f"field\tnuclei\ttruth\na\t{tmp_path}/n.tif\t{tmp_path}/t.tif\n", encoding="utf-8"
    )
    command = [sys.executable, SCRIPT, "--fields", tmp_path / "run.tsv"]
    command += ["--table", tmp_path / "out.csv"]
    done = subprocess.run(list(map(str, command)), check=False, capture_output=True, text=True)
    assert done.returncode == 2
    assert "field a" in done.stderr
    assert "50×50 px, the field 60×60 px" in done.stderr
    assert not (tmp_path / "out.csv").exists()
