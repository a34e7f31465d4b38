"""Learning from pseudo-labels: what is learned from, what is kept, and what goes wrong."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from synthetic import draw_field, write_stage

import finetune_cellpose
from cellsieve.errors import TrainingError
from cellsieve.planning.plan import SHIPPED, write_manifest
from cellsieve.segmenters import load_segmenter, read_notes, read_weights, save_segmenter
from cellsieve.segmenters.interface import Outlined
from cellsieve.segmenters.vote_network import VoteNetwork
from cellsieve.stores import add_plane, create_zip
from cellsieve.training import finetuning
from cellsieve.training.pseudo_agreement import agreement
from cellsieve.training.recipe import Example
from cellsieve.training.second_round import add_confident
from cellsieve.training.votes import RECIPE
from cellsieve.training.windows import LabelledField, Window, cut_windows, draw_window
from cellsieve.training_fields import cut_training_windows

SCRIPTS = Path(__file__).parents[1] / "scripts"
DIAMETER = 24
OUTPUTS = {
    "checkpoint": "checkpoint",
    "weights": "weights.safetensors",
    "curve": "curve.csv",
    "picture": "curve.png",
    "record": "record.json",
}


def draw(seed, nuclei=40):
    drawn = draw_field((260, 240), DIAMETER, nuclei, seed=seed, background=0)
    return drawn._replace(image=np.maximum(drawn.image, 0))


def write_training_field(folder, field, labels, **qc):
    """What preprocessing and pseudo_labels.py would have written."""
    folder.mkdir(parents=True)
    write_stage(folder, field.image, field.labels, **qc)
    with create_zip(folder / "pseudo_labels.zarr.zip") as store:
        add_plane(store, "labels", labels.shape, np.uint32)[:] = labels
        hidden = (field.labels > 0) & (labels == 0)
        add_plane(store, "ignore", labels.shape, np.uint8)[:] = hidden
    names = {"dapi": "dapi.zarr.zip", "qc": "qc.json", "pseudo_labels": "pseudo_labels.zarr.zip"}
    return {"field": folder.name, **{key: folder / name for key, name in names.items()}}


@pytest.fixture(scope="module")
def laboratory(tmp_path_factory):
    """Six fields; of every nucleus in three nothing is known."""
    folder = tmp_path_factory.mktemp("laboratory")
    rows = []
    for seed in range(6):
        field = draw(seed)
        labels = np.where(field.labels % 3 > 0, field.labels, 0)
        rows.append(write_training_field(folder / f"field{seed}", field, labels))
    write_manifest(folder / "fields.tsv", rows)
    return folder


def finetune(manifest, folder, *more):
    command = [sys.executable, SCRIPTS / "finetune_votes.py", "--fields", manifest]
    command += ["--threads", 1, "--device", "cpu", *more]
    for option, name in OUTPUTS.items():
        command += [f"--{option}", folder / name]
    return subprocess.run(
        list(map(str, command)), check=False, capture_output=True, text=True, cwd=folder
    )


def as_field(seed=0, labels=None):
    drawn = draw(seed)
    labels = drawn.labels if labels is None else labels
    nothing = np.zeros(labels.shape, bool)
    return LabelledField("f", drawn.image, labels, nothing, DIAMETER, np.median(drawn.image))


def test_windows_show_the_field_and_its_labels():
    field = as_field()
    windows = cut_windows(field, 100, np.random.default_rng(0))
    shown = {label for window in windows for label in window.nuclei}
    assert shown == set(np.unique(field.labels)[1:])
    for window in windows:
        numbers = np.unique(window.shown.labels)
        assert len(window.nuclei) == len(numbers[numbers > 0]) > 0
    light = sum(float(w.shown.picture.astype(float).sum()) for w in windows)
    assert light == pytest.approx(field.dapi.sum() / field.intensity, rel=1e-3)


def test_every_field_that_is_kept_for_it_judges():
    """30 fields of 20 windows each; 6 are kept, 40 windows judge: 6 or 7 of each."""
    shown = Example(np.zeros((2, 2)), np.ones((2, 2), int), np.zeros((2, 2), bool))
    windows = {f: [Window(shown, 1000 * f + w, (1,)) for w in range(20)] for f in range(30)}
    rng = np.random.default_rng(0)
    learning, judging, split = finetuning._split(windows, rng)
    counts = np.bincount([int(window.diameter) // 1000 for window in judging])
    assert sorted(counts[counts > 0]) == [6, 6, 7, 7, 7, 7]
    assert len(learning) == 24 * 20
    assert not {w.diameter // 1000 for w in learning} & {w.diameter // 1000 for w in judging}
    assert split == "by field"


def test_of_more_fields_than_windows_some_are_left_out(laboratory):
    manifest = laboratory / "fields.tsv"
    chosen = [list(cut_training_windows(manifest, "pseudo", seed, most=4)) for seed in range(8)]
    assert {len(fields) for fields in chosen} == {4}
    assert {field for fields in chosen for field in fields} == {f"field{n}" for n in range(6)}


def test_fields_of_other_diameters_are_learned_from_alike(tmp_path):
    """One of them imaged at three times the resolution: its windows show as many nuclei."""
    rows = []
    for seed, zoom in ((0, 1), (1, 3)):
        field = draw(seed)
        image, labels = (np.kron(part, np.ones((zoom, zoom), part.dtype)) for part in field[:2])
        rows.append(
            write_training_field(
                tmp_path / f"f{seed}",
                field._replace(image=image, labels=labels),
                labels,
                diameter_px=zoom * DIAMETER,
            )
        )
    write_manifest(tmp_path / "fields.tsv", rows)
    windows = cut_training_windows(tmp_path / "fields.tsv", "pseudo", seed=0)
    shares = [
        (window.shown.labels > 0).sum() / len(window.nuclei) / window.diameter**2
        for found in windows.values()
        for window in found
    ]
    assert len(windows["f0"]) == len(windows["f1"])
    assert max(shares) < 1.5 * min(shares)


def test_windows_are_alike_in_size_and_none_is_empty():
    wide = np.tile(draw(0).labels, (3, 4))
    field = as_field(0, wide)._replace(dapi=wide, ignored=np.zeros(wide.shape, bool))
    windows = cut_windows(field, 100, np.random.default_rng(0))
    sides = [side for window in windows for side in window.shown.labels.shape]
    assert max(sides) <= 1.5 * min(sides)
    assert len(cut_windows(field, 2, np.random.default_rng(0))) == 2
    empty = as_field(1, np.zeros((260, 240), int))
    assert cut_windows(empty, 10, np.random.default_rng(0)) == []


def test_large_nuclei_are_kept_with_less_resolution():
    field = as_field()
    large = [np.kron(plane, np.ones((5, 5), plane.dtype)) for plane in field[1:4]]
    field = LabelledField("f", *large, 5 * DIAMETER, field.intensity)
    (window,) = cut_windows(field, 10, np.random.default_rng(0))
    assert window.diameter == pytest.approx(5 * DIAMETER / 2)
    assert window.shown.labels.shape == window.shown.picture.shape == (650, 600)
    assert window.nuclei == tuple(np.unique(large[1])[1:])


def test_pictures_of_a_window_have_the_networks_scale():
    windows = cut_windows(as_field(), 100, np.random.default_rng(0))
    rng = np.random.default_rng(1)
    areas = []
    for _ in range(30):
        example = draw_window(rng, windows, 192, 32.0)
        assert example.picture.shape == example.labels.shape == example.ignored.shape == (192, 192)
        assert example.picture.dtype == np.float32
        assert example.picture.min() >= 0
        inside = np.unique(example.labels[60:130, 60:130])
        counts = np.bincount(example.labels.ravel())
        areas += [counts[label] for label in inside[inside > 0]]
    assert np.sqrt(np.median(areas) * 4 / np.pi) == pytest.approx(32, rel=0.25)


class Knows:
    """A segmenter that shows given labels."""

    diameter, step = float(DIAMETER), 1

    def __init__(self, labels, confidence=0.99):
        self.labels, self.confidence = labels, confidence

    def segment(self, picture, rows, cols):
        confidence = np.full(self.labels.max() + 1, self.confidence, np.float32)
        confidence[0] = 0
        return Outlined(self.labels.astype(np.int32), confidence)


def boxes(*corners, side=20, shape=(120, 120)):
    labels = np.zeros(shape, np.int32)
    for number, (y, x) in enumerate(corners, 1):
        labels[y : y + side, x : x + side] = number
    return labels


def window_of(labels, ignored=None):
    ignored = np.zeros(labels.shape, bool) if ignored is None else ignored
    picture = (labels > 0).astype(np.float16)
    return Window(Example(picture, labels, ignored), DIAMETER, tuple(np.unique(labels)[1:]))


def test_agreement_is_that_of_the_labels_known():
    """Two labels; one found exactly, one missed, one box of nothing found: 2·1 / (2 + 2)."""
    window = window_of(boxes((10, 10), (60, 60)))
    assert agreement(Knows(boxes((10, 10), (60, 60))), [window]) == 1
    assert agreement(Knows(boxes((10, 10), (60, 10))), [window]) == pytest.approx(2 / 4)


def test_what_is_found_where_nothing_is_known_counts_neither_way():
    ignored = boxes((60, 10)) > 0
    window = window_of(boxes((10, 10)), ignored)
    assert agreement(Knows(boxes((10, 10), (60, 10))), [window]) == 1


def test_confident_nuclei_join_where_nothing_is_known():
    ignored = (boxes((60, 10), (60, 60), (0, 60)) > 0) & (np.arange(120)[:, None] >= 0)
    window = window_of(boxes((10, 10)), ignored)
    found = boxes((10, 10), (60, 10), (90, 90), (0, 60))  # known, new, background, cut by the edge
    (grown,), added = add_confident(Knows(found), [window])
    assert added == 1
    assert np.array_equal(grown.shown.labels > 0, boxes((10, 10), (60, 10)) > 0)
    assert np.array_equal(grown.shown.ignored, boxes((60, 60), (0, 60)) > 0)
    assert add_confident(Knows(found, 0.5), [window])[1] == 0


def test_a_network_learns_from_pseudo_labels_and_the_same_again(laboratory, tmp_path):
    first, second = tmp_path / "a", tmp_path / "b"
    for folder in (first, second):
        folder.mkdir()
        start = SHIPPED / "votes.safetensors"
        done = finetune(laboratory / "fields.tsv", folder, "--steps", 3, "--start", start)
        assert done.returncode == 0, done.stderr
    for name in ("weights.safetensors", "curve.csv", "record.json"):
        assert (first / name).read_bytes() == (second / name).read_bytes(), name
    assert not list(first.glob("checkpoint*"))
    assert pd.read_csv(first / "curve.csv")["step"].tolist() == [0, 3]
    record = json.loads((first / "record.json").read_text())
    assert record["split"] == "by field"
    assert record["fields"] == 6
    assert load_segmenter(first / "weights.safetensors", "cpu").engine == "votes"


def test_a_training_that_was_killed_ends_the_same(laboratory, tmp_path, monkeypatch):
    """Killed after its first checkpoint; one of another training in its place is left alone."""
    monkeypatch.setattr(finetuning, "_EVERY", 1)
    monkeypatch.setattr(finetuning, "_SCENES", 4)
    start = read_weights(SHIPPED / "votes.safetensors").state
    options = finetuning.Options(2, 1, 0, 1, "cpu")

    def train(name, stop=None):
        def follow(rows):
            if stop and rows[-1][0] == stop:
                raise KeyboardInterrupt

        windows = cut_training_windows(laboratory / "fields.tsv", "pseudo", seed=0)
        return finetuning.finetune(RECIPE, windows, start, options, tmp_path / name, follow)

    whole = train("whole")
    with pytest.raises(KeyboardInterrupt):
        train("killed", stop=1)
    again = train("killed")
    torch.save({**torch.load(tmp_path / "killed.1"), "origin": {}}, tmp_path / "other.1")
    other = train("other")
    for learned in (again, other):
        assert learned.rows[1:] == whole.rows[1:]
        assert all(torch.equal(whole.state[name], v) for name, v in learned.state.items())


def test_a_second_round_is_kept_only_if_it_agrees_better(laboratory, tmp_path, monkeypatch):
    monkeypatch.setattr(finetuning, "_EVERY", 1)
    monkeypatch.setattr(finetuning, "_SCENES", 4)
    start = read_weights(SHIPPED / "votes.safetensors").state
    windows = cut_training_windows(laboratory / "fields.tsv", "pseudo", seed=0)
    options, seen = finetuning.Options(1, 2, 0, 1, "cpu"), []
    learned = finetuning.finetune(RECIPE, windows, start, options, tmp_path / "c", seen.append)
    record = learned.record
    assert record["added"] > 0  # of the third of the nuclei that has no label
    assert [row[0] for row in learned.rows] == [0, 1, 1, 2]  # one curve
    assert seen[-1][:2] == learned.rows[:2]
    better = record["round_2"]["agreement"] > record["round_1"]["agreement"]
    assert (record["kept"] == "round 2") == better
    assert record["round_2"]["agreement_at_start"] == record["round_1"]["agreement"]


def test_good_weights_are_not_made_worse(laboratory, tmp_path):
    """Two steps at full speed are no improvement: the weights that it began with stay."""
    start = SHIPPED / "votes.safetensors"
    more = ("--steps", 2, "--start", start, "--device", "auto")
    done = finetune(laboratory / "fields.tsv", tmp_path, *more)
    assert done.returncode == 0, done.stderr
    record = json.loads((tmp_path / "record.json").read_text())
    assert record["device"] in ("cpu", "cuda")  # the one that was used
    record = record["round_1"]
    assert record["agreement_at_start"] > 0.7
    if record["best_step"] == 0:
        kept, given = (read_weights(p).state for p in (tmp_path / "weights.safetensors", start))
        assert all(torch.equal(kept[name], given[name]) for name in given)
    else:
        assert record["agreement"] > record["agreement_at_start"]


def manifest_of(folder, labels):
    field = draw(0)
    rows = [write_training_field(folder / "one", field, labels(field.labels))]
    write_manifest(folder / "fields.tsv", rows)
    return folder / "fields.tsv"


@pytest.mark.parametrize("most", [0, 1])
def test_too_few_labels_leave_the_starting_weights(tmp_path, most):
    manifest = manifest_of(tmp_path / "in", lambda labels: np.where(labels <= most, labels, 0))
    start = SHIPPED / "votes.safetensors"
    done = finetune(manifest, tmp_path, "--steps", 2, "--start", start)
    assert done.returncode == 0, done.stderr
    assert "too few to learn from" in done.stderr
    kept, given = (read_weights(p).state for p in (tmp_path / "weights.safetensors", start))
    assert all(torch.equal(kept[name], given[name]) for name in given)
    assert json.loads((tmp_path / "record.json").read_text())["kept"] == "start"


def test_too_few_labels_and_nothing_to_fall_back_to(tmp_path):
    manifest = manifest_of(tmp_path / "in", np.zeros_like)
    done = finetune(manifest, tmp_path, "--steps", 2)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == (
        "error: 0 labels in 1 fields are too few to learn from (at least 30);"
        " mark more fields with train: yes"
    )


def test_a_training_that_diverges_keeps_the_best_weights_before(laboratory, tmp_path, monkeypatch):
    monkeypatch.setattr(finetuning, "_EVERY", 1)
    monkeypatch.setattr(finetuning, "_SCENES", 4)
    start = read_weights(SHIPPED / "votes.safetensors").state
    windows = cut_training_windows(laboratory / "fields.tsv", "pseudo", seed=0)
    calls = iter([1.0, float("nan")])

    def loss(network, batch):
        value, figure = RECIPE.loss(network, batch)
        return value * next(calls), figure

    recipe, options = RECIPE._replace(loss=loss), finetuning.Options(3, 1, 0, 1, "cpu")
    learned = finetuning.finetune(recipe, windows, start, options, tmp_path / "c", lambda _: None)
    assert learned.record["round_1"]["diverged"]
    assert [row[0] for row in learned.rows] == [0, 1]
    assert all(torch.isfinite(v).all() for v in learned.state.values())


def test_a_training_that_begins_broken_is_refused(laboratory, tmp_path):
    broken = {name: v * float("nan") for name, v in VoteNetwork().state_dict().items()}
    save_segmenter(tmp_path / "broken.safetensors", broken, "votes", {})
    start = ("--start", tmp_path / "broken.safetensors")
    done = finetune(laboratory / "fields.tsv", tmp_path, "--steps", 2, *start)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("error: the training diverged")


def test_first_weights_stay_where_nothing_agrees(tmp_path, monkeypatch):
    """Labels that no nucleus has: neither the first weights nor the trained ones find them."""
    monkeypatch.setattr(finetuning, "_SCENES", 4)
    rows = []
    for seed in range(5):
        field = draw(seed)
        nowhere = np.where(field.labels > 0, 0, np.indices(field.labels.shape)[0] // 8 + 1)
        rows.append(write_training_field(tmp_path / f"field{seed}", field, nowhere))
    write_manifest(tmp_path / "fields.tsv", rows)
    start = read_weights(SHIPPED / "votes.safetensors").state
    windows = cut_training_windows(tmp_path / "fields.tsv", "pseudo", seed=0)
    options = finetuning.Options(1, 1, 0, 1, "cpu")
    learned = finetuning.finetune(RECIPE, windows, start, options, tmp_path / "c", lambda _: None)
    assert learned.record["round_1"]["agreement"] == 0
    assert learned.record["kept"] == "start"
    assert all(torch.equal(start[name], v) for name, v in learned.state.items())


def test_a_training_that_teaches_nothing_is_no_model(laboratory, tmp_path):
    done = finetune(laboratory / "fields.tsv", tmp_path, "--steps", 1)
    assert done.returncode == 2
    assert "1 steps taught nothing" in done.stderr.splitlines()[-1]
    assert not (tmp_path / "weights.safetensors").exists()


def test_a_failed_training_can_be_recorded(laboratory, tmp_path):
    """A benchmark shows it as a row; nothing segments with it."""
    done = finetune(laboratory / "fields.tsv", tmp_path, "--steps", 1, "--on-failure", "record")
    assert done.returncode == 0, done.stderr
    with pytest.raises(TrainingError, match="the training failed: 1 steps taught nothing"):
        read_notes(tmp_path / "weights.safetensors", "votes")
    record = json.loads((tmp_path / "record.json").read_text())
    assert record["kept"] == "nothing"
    assert record["reason"].startswith("1 steps taught nothing")
    assert pd.read_csv(tmp_path / "curve.csv")["step"].tolist() == [1]


def test_a_manifest_without_rows_is_refused(laboratory, tmp_path):
    header = (laboratory / "fields.tsv").read_text().splitlines()[0]
    (tmp_path / "fields.tsv").write_text(f"{header}\n")
    done = finetune(tmp_path / "fields.tsv", tmp_path)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].endswith("fields.tsv: no rows; allowed: at least one field")


def test_a_published_network_is_no_start_without_its_weights(laboratory, tmp_path):
    with pytest.raises(SystemExit) as stopped:
        finetune_cellpose.main(
            [f"--fields={laboratory}/fields.tsv", "--network=cyto3"]
            + [f"--{option}={tmp_path / name}" for option, name in OUTPUTS.items()]
        )
    assert stopped.value.code == 2


def test_weights_of_another_engine_are_no_start(laboratory, tmp_path):
    save_segmenter(tmp_path / "other.safetensors", {"a": torch.zeros(1)}, "maskrcnn", {})
    done = finetune(laboratory / "fields.tsv", tmp_path, "--start", tmp_path / "other.safetensors")
    assert done.returncode == 2
    assert "weights of the engine maskrcnn, but votes is asked for" in done.stderr
