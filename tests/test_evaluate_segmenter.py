"""A segmenter measured on labelled images, and the training of first weights, by command line."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
from synthetic import draw_field

from cellsieve.planning.plan import SHIPPED
from cellsieve.segmenters import read_weights

SCRIPTS = Path(__file__).parents[1] / "scripts"
VOTES = SHIPPED / "votes.safetensors"


def run(script, *args):
    command = [sys.executable, SCRIPTS / f"{script}.py", *args]
    return subprocess.run(list(map(str, command)), check=False, capture_output=True, text=True)


def test_figures_are_those_of_the_images(tmp_path):
    """Of one image the labels are right, of the other there are none."""
    (tmp_path / "images").mkdir()
    (tmp_path / "labels").mkdir()
    field = draw_field((300, 280), 26, 30, seed=3)
    for name, labels in (("a.tif", field.labels), ("b.tif", np.zeros_like(field.labels))):
        tifffile.imwrite(tmp_path / "images" / name, field.image.clip(0).astype(np.uint16))
        tifffile.imwrite(tmp_path / "labels" / name, labels.astype(np.uint16))
    folders = ("--images", tmp_path / "images", "--labels", tmp_path / "labels")
    more = ("--weights", VOTES, "--threads", 1, "--table", tmp_path / "t.csv")
    done = run("evaluate_segmenter", *folders, *more)
    assert done.returncode == 0, done.stderr
    figures, table = json.loads(done.stdout), pd.read_csv(tmp_path / "t.csv", index_col="image")
    assert table.loc["a.tif", "ap50"] > 0.8
    assert table.loc["b.tif", "ap50"] == 0
    assert figures["ap50"]["mean"] == pytest.approx(table["ap50"].mean(), rel=1e-4)
    hits, objects = table["hits"].sum(), table["true"].sum() + table["found"].sum()
    assert figures["f1"]["pooled"] == pytest.approx(2 * hits / objects, rel=1e-4)


def test_first_weights_are_trained_and_gone_on_with(tmp_path):
    names = ("c.pt", "w.safetensors", "c.csv", "c.png", "r.json")
    files = zip(("checkpoint", "weights", "curve", "picture", "record"), names, strict=True)
    options = [word for name, file in files for word in (f"--{name}", tmp_path / file)]
    small = ("--steps", 2, "--scenes", 4, "--threads", 1)
    done = run("train_segmenter", *small, *options)
    # two steps teach nothing, and say so; the weights of a training that did not fail ship
    assert done.returncode == 2
    assert "2 steps taught nothing" in done.stderr.splitlines()[-1]
    assert (tmp_path / "c.pt").exists()
    assert not (tmp_path / "w.safetensors").exists()


def test_the_weights_that_ship_are_those_of_their_record():
    import hashlib

    record = json.loads(VOTES.with_suffix(".json").read_text(encoding="utf-8"))
    assert record["weights_sha256"] == hashlib.sha256(VOTES.read_bytes()).hexdigest()
    assert read_weights(VOTES, "votes").notes["engine"] == record["engine"]
    assert VOTES.stat().st_size < 30e6
