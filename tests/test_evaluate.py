"""Agreement with known truth, by hand and by the command line."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile

from cellsieve.agreement import auroc, compare_cells, compare_labels

SCRIPT = Path(__file__).parents[1] / "scripts" / "evaluate.py"


def squares(*corners, side=10, size=60):
    labels = np.zeros((size, size), np.uint16)
    for label, (y, x) in enumerate(corners, 1):
        labels[y : y + side, x : x + side] = label
    return labels


def test_labels_by_hand():
    truth = squares((0, 0), (20, 20), (40, 40))
    # one exact; one moved by 2 of 10 px: IoU 80/120; one missed; one invented
    found = squares((0, 0), (22, 20), (0, 40))
    result = compare_labels(truth, found)
    assert (result["true"], result["found"], result["hits"]) == (3, 3, 2)
    assert result["ap50"] == pytest.approx(2 / 4)
    assert result["dice"] == pytest.approx(2 * 180 / 600)
    # IoU 2/3 counts at 0.50, 0.55, 0.60, 0.65: two hits of four; then one of five
    assert result["map"] == pytest.approx((4 * 2 / 4 + 6 * 1 / 5) / 10)


def test_auroc_by_hand():
    positive = np.array([True, False, True, False])
    assert auroc(np.array([4.0, 1, 3, 2]), positive) == 1
    assert auroc(np.array([2.0, 2, 2, 2]), positive) == 0.5
    assert auroc(np.array([3.0, 2, 1, np.nan]), positive) == 0.5
    assert auroc(np.array([1.0, 2]), np.array([True, True])) is None


def test_cells_against_truth():
    joined = pd.DataFrame(
        {
            "call": ["suspicious", "normal", "normal", "not_assessable"],
            "true_class": ["abnormal", "abnormal", "normal", "normal"],
            "anomaly_score": [9.0, 1.0, 2.0, 5.0],
            "aqua": [3, 2, 2, 7],
            "true_aqua": [3, 3, 2, 2],
            "aqua_state": ["gain", "normal", "normal", None],
        }
    )
    result = compare_cells(joined, ["aqua"])
    assert result["suspicious_abnormal"] == 1
    assert result["suspicious_normal"] == 0
    assert (result["assessable_normal"], result["assessable_abnormal"]) == (1, 2)
    assert result["auroc"] == 0.5
    assert result["exact_aqua"] == pytest.approx(2 / 3)


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
    assert summary["f1"] == pytest.approx(4 / 5)
    assert pd.read_csv(tmp_path / "out.csv")["field"].tolist() == ["a"]
    (tmp_path / "run.tsv").write_text("field\tnuclei\ttruth\na\tx\t\n", encoding="utf-8")
    done = subprocess.run(list(map(str, command)), check=False, capture_output=True, text=True)
    assert done.returncode == 2
    assert "no field has a truth" in done.stderr
