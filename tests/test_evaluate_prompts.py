"""A promptable model measured by true labels: prompts and IoUs by hand, and the command line."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
import torch
import zarr
from safetensors.torch import save_file
from synthetic import draw_field, ellipse

from cellsieve.benchmarks.labelled_folder import Preprocessed, find_labelled, open_preprocessed
from cellsieve.benchmarks.prompted_agreement import prompted_ious, true_prompts
from cellsieve.errors import UserError
from cellsieve.promptable.interface import Answers
from cellsieve.promptable.small_network import SmallSam
from cellsieve.pseudo_labelling.mask_table import mask_of

SCRIPT = Path(__file__).parents[1] / "scripts" / "evaluate_prompts.py"
SIDE = 64  # of the masks that `Rectangles` gives


class Rectangles:
    """A promptable model that gives the box itself, or a square of 9 px around the point."""

    diameter, side, halo, name, prompts = 32.0, 512, 64, "rectangles", ("box",)

    def embed(self, picture):
        return picture.shape

    def answer(self, embedding, prompts):
        if prompts.boxes is not None:
            boxes = prompts.boxes
        else:
            boxes = np.concatenate([prompts.points[:, 0] - 4.5, prompts.points[:, 0] + 4.5], axis=1)
        origins = np.floor((boxes[:, 1::-1] + boxes[:, :1:-1]) / 2) - SIDE // 2
        y, x = (origins[:, axis, None] + np.arange(SIDE) + 0.5 for axis in (0, 1))
        down = np.minimum(y - boxes[:, 1, None], boxes[:, 3, None] - y)
        right = np.minimum(x - boxes[:, 0, None], boxes[:, 2, None] - x)
        logits = np.minimum(down[:, :, None], right[:, None, :])[:, None].astype(np.float32)
        return Answers(logits, np.ones((len(boxes), 1)), origins.astype(np.float32), 1.0)


def preprocessed(labels, diameter=32.0):
    """A field of the model's own scale, so that its masks are drawn pixel for pixel."""
    return Preprocessed((labels > 0).astype(np.uint16) * 100, labels, diameter, 100.0)


@pytest.fixture
def labels():
    """A square, a ring and a disc, numbered with gaps."""
    labels = np.zeros((100, 150), np.uint32)
    labels[10:31, 5:36] = 7
    labels[ellipse(labels.shape, (50, 70), (20, 20))] = 3
    labels[ellipse(labels.shape, (50, 70), (10, 10))] = 0
    labels[ellipse(labels.shape, (60, 120), (16, 12))] = 4_000_000_000
    return labels


def test_a_prompt_for_each_nucleus(labels):
    prompts = true_prompts(labels, ["point", "box"])
    assert prompts["candidate"].tolist() == [3, 7, 4_000_000_000]
    for row in prompts.itertuples():
        canvas = np.zeros(labels.shape, bool)
        canvas[row.top_px : row.bottom_px, row.left_px : row.right_px] = mask_of(row)
        assert np.array_equal(canvas, labels == row.candidate)
        assert row.area_px == canvas.sum()
        assert canvas[round(row.y_px), round(row.x_px)]
    square = prompts.iloc[1]
    assert (square.y_px, square.x_px) == (20, 20)
    # the centre of the ring lies outside it: its point is in the middle of the band
    ring = prompts.iloc[0]
    assert np.hypot(ring.y_px - 50, ring.x_px - 70) == pytest.approx(15.5, abs=1)


def test_without_a_point_the_box_is_all_that_is_told(labels):
    prompts = true_prompts(labels, ["box"])
    assert (prompts.iloc[0].y_px, prompts.iloc[0].x_px) == (50, 70)


def test_iou_with_the_boxes_by_hand(labels):
    ious = prompted_ious(preprocessed(labels), Rectangles(), ["box"]).set_index("nucleus")["iou"]
    assert ious.index.tolist() == [3, 7, 4_000_000_000]
    assert ious[7] == 1
    assert ious[3] == (labels == 3).sum() / 41**2
    assert ious[4_000_000_000] == (labels == 4_000_000_000).sum() / (33 * 25)


def test_iou_with_squares_around_points_by_hand(labels):
    ious = prompted_ious(preprocessed(labels), Rectangles(), ["point"]).set_index("nucleus")["iou"]
    assert ious[7] == 81 / (21 * 31)
    assert ious[4_000_000_000] == 81 / (labels == 4_000_000_000).sum()


def test_labels_without_a_nucleus():
    nothing = np.zeros((40, 40), np.uint8)
    assert prompted_ious(preprocessed(nothing), Rectangles(), ["box", "darkest"]).empty


def test_nuclei_that_repeat_one_another_count_each():
    labels = np.zeros((60, 60), np.uint32)
    labels[10:40, 10:40] = 1
    labels[11:39, 20:24] = 2  # within the other's box, and most of its height
    ious = prompted_ious(preprocessed(labels), Rectangles(), ["box"])["iou"]
    assert ious.tolist() == [(900 - 112) / 900, 1]


def test_no_diameter_is_no_answer(labels):
    ious = prompted_ious(preprocessed(labels, None), Rectangles(), ["box"])
    assert ious["iou"].tolist() == [0, 0, 0]


@pytest.fixture
def folders(tmp_path):
    """Two images of nuclei with their labels, and a file that is neither."""
    for folder in ("images", "labels"):
        (tmp_path / folder).mkdir()
    for number in range(2):
        drawn = draw_field((160, 180), 24, 12, seed=number, touching=0)
        image = np.clip(drawn.image, 0, None).astype(np.uint16)
        tifffile.imwrite(tmp_path / "images" / f"{number}.tif", image)
        tifffile.imwrite(tmp_path / "labels" / f"{number}.tif", drawn.labels.astype(np.uint16))
    (tmp_path / "images" / "about.txt").write_text("not an image")
    return tmp_path


def test_images_are_paired_with_labels_by_name(folders):
    pairs = find_labelled(folders / "images", folders / "labels")
    assert [pair.image.name for pair in pairs] == ["0.tif", "1.tif"]
    assert all(pair.labels == folders / "labels" / pair.image.name for pair in pairs)
    (folders / "list.txt").write_text("1.tif\n\n")
    listed = find_labelled(folders / "images", folders / "labels", folders / "list.txt")
    assert listed == pairs[1:]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: (f / "labels" / "1.tif").unlink(), "no labels 1.tif"),
        (lambda f: (f / "list.txt").write_text("5.tif\n6.tif\n"), "no image 5.tif and 1 more"),
        (lambda f: (f / "list.txt").write_text("\n"), "no image is named"),
        (lambda f: [p.unlink() for p in (f / "images").iterdir()], "no image"),
        (lambda f: (f / "images").rename(f / "pictures"), "no such folder"),
    ],
    ids=["label", "listed", "empty-list", "empty-folder", "folder"],
)
def test_what_is_missing_is_named(folders, change, message):
    change(folders)
    names = folders / "list.txt"
    with pytest.raises(UserError, match=message):
        find_labelled(folders / "images", folders / "labels", names if names.exists() else None)


def test_command_line(folders):
    torch.manual_seed(0)
    save_file(SmallSam().state_dict(), folders / "random.safetensors")
    command = [sys.executable, SCRIPT, "--images", folders / "images", "--labels"]
    command += [folders / "labels", "--model", folders / "random.safetensors", "--device", "cpu"]
    command += ["--prompt", "box", "darkest", "neighbours", "--table", folders / "out.csv"]
    done = subprocess.run(list(map(str, command)), check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    table, summary = pd.read_csv(folders / "out.csv"), json.loads(done.stdout)
    assert table["image"].tolist() == ["0.tif", "1.tif"]
    assert table["nuclei"].tolist() == [12, 12]
    assert (abs(table["diameter_px"] - 24) < 5).all()
    assert summary["nuclei"] == 24
    assert summary["iou_of_images"]["mean"] == pytest.approx(table["mean_iou"].mean(), rel=1e-5)
    pooled = table["sum_iou"].sum() / 24
    assert summary["iou_of_nuclei"]["pooled"] == pytest.approx(pooled, rel=1e-5)
    assert not list(folders.glob(".out*"))


def test_labels_of_another_size_are_refused(folders):
    tifffile.imwrite(folders / "labels" / "0.tif", np.zeros((50, 180), np.uint16))
    pair = find_labelled(folders / "images", folders / "labels")[0]
    store = zarr.open_group(folders / "store", mode="w")
    message = "integers of 160×180 px, not uint16 of 50×180 px"
    with pytest.raises(UserError, match=message), open_preprocessed(pair, "0", store):
        pass


def test_an_image_that_cannot_be_used_is_named(folders):
    tifffile.imwrite(folders / "images" / "0.tif", np.zeros((160, 180), np.uint16))
    pair = find_labelled(folders / "images", folders / "labels")[0]
    store = zarr.open_group(folders / "store", mode="w")
    with (
        pytest.raises(UserError, match=r"0\.tif: .*flat.*--list"),
        open_preprocessed(pair, "0", store),
    ):
        pass
