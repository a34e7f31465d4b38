"""Pseudo-labels against true ones: figures by hand, and the command line."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
import torch
from safetensors.torch import save_file
from synthetic import draw_field

from cellsieve.benchmarks.pseudo_label_agreement import Drawn, compare_steps, summarise_steps
from cellsieve.promptable.small_network import SmallSam
from cellsieve.pseudo_labelling.mask_table import BOX
from cellsieve.pseudo_labelling.run_length import encode

SCRIPT = Path(__file__).parents[1] / "scripts" / "evaluate_pseudo_labels.py"
SHAPE = (60, 60)


def table(*boxes, **columns):
    """Rectangles as a table of masks: (top, left, bottom, right) each."""
    frame = pd.DataFrame(boxes, columns=BOX, dtype=np.int64)
    masks = [encode(np.ones((b - t, r - c), bool)) for t, c, b, r in boxes]
    return frame.assign(mask=pd.Series(masks, dtype=object), **columns)


@pytest.fixture
def truth():
    """Three squares of 10 px."""
    labels = np.zeros(SHAPE, np.uint16)
    for label, corner in enumerate((0, 20, 40), 1):
        labels[corner : corner + 10, corner : corner + 10] = label
    return labels


def test_masks_are_drawn_wherever_they_are_sliced():
    drawn = Drawn(table((0, 0, 3, 4), (2, 2, 6, 6)), (6, 7))
    whole = drawn[0:6, 0:7]
    assert (whole == 1).sum() == 10  # two px lie below the second
    assert (whole == 2).sum() == 16
    assert np.array_equal(drawn[1:5, 3:6], whole[1:5, 3:6])


def test_steps_by_hand(truth):
    # the first exact, the second moved by 2 of 10 px (IoU 2/3), the third refused, one invented
    prompts = table(
        (0, 0, 10, 10), (22, 20, 32, 30), (40, 40, 50, 50), (0, 40, 10, 50),
        kept=[True, True, False, True],
    )  # fmt: skip
    # the first twice, the second exact, of the invented one nothing
    masks = table(
        (0, 0, 10, 10), (20, 20, 30, 30), (0, 0, 10, 9),
        predicted_iou=[0.9, 0.8, 0.95], duplicate_of=pd.array([pd.NA, pd.NA, 1], "Int64"),
    )  # fmt: skip
    verdicts = table(
        (0, 0, 10, 10), (20, 20, 30, 30), (0, 40, 10, 50), (40, 40, 50, 50),
        accepted=[True, False, True, False],
    )  # fmt: skip
    row = compare_steps(truth, prompts, masks, verdicts)
    assert [row[name] for name in ("nuclei", "candidates", "kept")] == [3, 4, 3]
    assert [row[name] for name in ("accepted", "hits")] == [2, 1]
    assert (row["precision"], row["recall"]) == (1 / 2, 1 / 3)
    assert (row["coarse_ap50"], row["sam_ap50"]) == (2 / 4, 2 / 3)
    assert row["coarse_aji"] == pytest.approx(180 / 420)
    assert row["sam_aji"] == pytest.approx(200 / 300)
    assert row["coarse_map"] == pytest.approx((4 * 2 / 4 + 6 * 1 / 5) / 10)


def test_the_surer_of_two_masks_is_on_top(truth):
    masks = table(
        (0, 0, 10, 10), (0, 0, 30, 30),
        predicted_iou=[0.9, 0.5], duplicate_of=pd.array([pd.NA] * 2, "Int64"),
    )  # fmt: skip
    nothing = table().assign(kept=True, accepted=True)
    row = compare_steps(truth, nothing, masks, nothing)
    # one of three found, one false
    assert row["sam_ap50"] == 1 / 4


def test_an_image_without_anything(truth):
    nothing = table().assign(kept=None, accepted=None, predicted_iou=None, duplicate_of=None)
    row = compare_steps(truth, nothing, nothing, nothing)
    assert (row["accepted"], row["recall"], row["coarse_ap50"], row["sam_aji"]) == (0, 0, 0, 0)
    assert np.isnan(row["precision"])
    row = compare_steps(np.zeros(SHAPE, int), nothing, nothing, nothing)
    assert np.isnan(row["recall"])
    assert row["coarse_ap50"] == 1


def test_summary_by_hand():
    rows = pd.DataFrame(
        {
            "nuclei": [10, 30],
            "candidates": [10, 30],
            "kept": [9, 28],
            "accepted": [8, 10],
            "hits": [8, 9],
            "precision": [1.0, 0.9],
            "recall": [0.8, 0.3],
            **{f"coarse_{name}": [0.5, 0.7] for name in ("ap50", "aji", "map")},
            **{f"sam_{name}": [0.6, 0.8] for name in ("ap50", "aji", "map")},
        }
    )
    summary = summarise_steps(rows)
    assert [summary[name] for name in ("images", "nuclei", "accepted")] == [2, 40, 18]
    assert summary["precision"]["of_nuclei"]["pooled"] == pytest.approx(17 / 18)
    assert summary["precision"]["of_images"]["mean"] == pytest.approx(0.95)
    assert summary["recall"]["of_nuclei"] == pytest.approx(
        {"pooled": 17 / 40, "low": 0.3, "high": 0.8}
    )
    assert summary["sam"]["aji"] == pytest.approx({"mean": 0.7, "low": 0.6, "high": 0.8})
    # the images differ, the difference does not
    assert summary["sam_minus_coarse"]["map"] == pytest.approx(
        dict.fromkeys(("mean", "low", "high"), 0.1)
    )


def test_command_line(tmp_path):
    for folder in ("images", "labels"):
        (tmp_path / folder).mkdir()
    for number in range(2):
        drawn = draw_field((160, 180), 24, 12, seed=number, touching=0)
        image = np.clip(drawn.image, 0, None).astype(np.uint16)
        tifffile.imwrite(tmp_path / "images" / f"{number}.tif", image)
        tifffile.imwrite(tmp_path / "labels" / f"{number}.tif", drawn.labels.astype(np.uint16))
    torch.manual_seed(0)
    save_file(SmallSam().state_dict(), tmp_path / "random.safetensors")
    command = [sys.executable, SCRIPT, "--images", tmp_path / "images"]
    command += ["--labels", tmp_path / "labels", "--model", tmp_path / "random.safetensors"]
    command += ["--device", "cpu", "--table", tmp_path / "out.csv"]
    done = subprocess.run(list(map(str, command)), check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    rows, summary = pd.read_csv(tmp_path / "out.csv"), json.loads(done.stdout)
    assert rows["image"].tolist() == ["0.tif", "1.tif"]
    assert (rows["coarse_ap50"] > 0.8).all()
    assert summary["coarse"]["ap50"]["mean"] == pytest.approx(rows["coarse_ap50"].mean(), rel=1e-5)
    # a model of random weights outlines nothing that could be taken for a nucleus
    assert (rows["sam_ap50"] < 0.2).all()
    assert summary["nuclei"] == 24
