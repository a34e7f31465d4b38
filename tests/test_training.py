"""Training of the small model: what it is asked, that it learns, that it can go on."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from cellsieve.promptable.small_network import STRIDE, WINDOW
from cellsieve.training.examples import draw_example, draw_scenes
from cellsieve.training.prompt_sampling import sample_questions
from cellsieve.training.small_sam import draw_batch, loss, make_trainer
from cellsieve.training.trainer import Schedule, Trainer

SCRIPT = Path(__file__).parents[1] / "scripts" / "train_small_sam.py"


@pytest.fixture(scope="module")
def scenes():
    return draw_scenes(0, 12, 1)


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


def test_examples_are_at_the_scale_of_the_model(scenes):
    rng = np.random.default_rng(0)
    examples = [draw_example(rng, scenes, 192, 32.0) for _ in range(40)]
    assert all(picture.shape == labels.shape == (192, 192) for picture, labels, _ in examples)
    areas = np.concatenate([np.bincount(labels.ravel())[1:] for _, labels, _ in examples])
    # of the whole nuclei; a third lies wholly or partly beyond the border
    assert 2 * np.sqrt(np.median(areas[areas > 100]) / np.pi) == pytest.approx(32, rel=0.3)


def test_questions_point_at_the_nucleus_that_they_ask_for(scenes):
    rng = np.random.default_rng(1)
    asked = [
        question
        for _ in range(20)
        for question in sample_questions(rng, draw_example(rng, scenes, 192, 32.0).labels, 10)
    ]
    assert 0.05 < np.mean([question.nucleus == 0 for question in asked]) < 0.3
    pointed = 0
    for question in asked:
        assert question.labels.shape == (WINDOW, WINDOW)
        if not question.nucleus:
            continue
        mask = question.labels == question.nucleus
        for (x, y), kind in zip(question.points, question.kinds, strict=True):
            inside = 0 <= y < WINDOW and 0 <= x < WINDOW and mask[int(y), int(x)]
            if kind == 1:
                assert inside
                pointed += 1
            if kind == 0:
                assert not inside
    assert pointed > 20


def test_a_window_is_cut_out_of_the_picture_where_its_corner_says():
    labels = np.zeros((192, 192), np.int32)
    labels[80:110, 90:120] = 7
    (question,) = sample_questions(np.random.default_rng(5), labels, 10)
    y, x = np.nonzero(question.labels == 7)
    top, left = STRIDE * question.corner
    assert (y.min() + top, x.min() + left) == (80, 90)


def test_batches_have_one_size_and_depend_on_their_step_alone(scenes):
    first = [draw_batch(scenes, 0, step) for step in range(2)]
    again = draw_batch(scenes, 0, 1)
    assert all(torch.equal(a, b) for a, b in zip(first[1], again, strict=True))
    assert first[0].points.shape == first[1].points.shape == (80, 6, 2)
    assert not torch.equal(first[0].pictures, first[1].pictures)


def test_a_wrong_prompt_teaches_no_mask(scenes, monkeypatch):
    batch = draw_batch(scenes, 0, 0)
    wrong = torch.arange(len(batch.nucleus)) % 2 == 0
    batch = batch._replace(nucleus=torch.where(wrong, 0, batch.nucleus))
    network = make_trainer(scenes, 0, 10).network.train()
    kept = []
    answer = network.answer

    def watched(*args):
        logits, predicted = answer(*args)
        for part in (logits, predicted):
            part.retain_grad()
        kept.append((logits, predicted))
        return logits, predicted

    monkeypatch.setattr(network, "answer", watched)
    loss(network, batch)[0].backward()
    masks, quality = (part.grad.abs().flatten(1).sum(1) for part in kept[0])
    assert not masks[wrong].any()
    assert (masks[batch.nucleus > 0] > 0).all()
    assert (quality > 0).all()


def test_training_that_was_interrupted_ends_the_same(scenes, tmp_path):
    whole = make_trainer(scenes, 0, 4)
    seen = [value for _, value, _ in whole.run(4)]
    assert len(seen) == 4
    first = make_trainer(scenes, 0, 4)
    list(first.run(2))
    torch.save(first.state(), tmp_path / "checkpoint.pt")
    second = make_trainer(scenes, 0, 4)
    second.resume(torch.load(tmp_path / "checkpoint.pt", weights_only=True))
    list(second.run(4))
    assert second.step == 4
    for name, value in whole.average.items():
        assert torch.equal(value, second.average[name]), name


@pytest.mark.parametrize(("fall", "last"), [(1.0, 0.01), (0.75, 0.01 + (1 - 2**-0.5) / 2)])
def test_the_learning_rate_falls_as_far_as_asked(fall, last):
    network = torch.nn.Linear(1, 1)
    trainer = Trainer(network, None, None, Schedule(8, 1.0, 0, warm_up=1, fall=fall))
    rates = []
    for trainer.step in range(9):
        rates.append(trainer._rate())
    assert rates[0] == pytest.approx(1.01)
    assert rates[-1] == pytest.approx(last)
    assert sorted(rates, reverse=True) == rates


def test_a_training_that_diverges_says_so(scenes):
    trainer = make_trainer(scenes, 0, 4)
    torch.nn.init.constant_(trainer.network.encoder.out.bias, float("nan"))
    with pytest.raises(FloatingPointError, match="not finite at step 0"):
        list(trainer.run(1))


def test_the_script_writes_weights_curve_and_record(tmp_path):
    names = ("checkpoint", "weights", "curve", "picture", "record")
    files = dict(zip(names, ("c.pt", "w.safetensors", "c.csv", "c.png", "r.json"), strict=True))
    command = [sys.executable, SCRIPT, "--steps", 2, "--scenes", 4, "--threads", 1]
    for name, file in files.items():
        command += [f"--{name}", tmp_path / file]
    for _ in range(2):  # the second finds nothing left to do, but for the curve
        files_of_curve = [tmp_path / "c.csv", tmp_path / "c.png"]
        [file.unlink(missing_ok=True) for file in files_of_curve]
        done = subprocess.run(list(map(str, command)), check=False, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    assert pd.read_csv(tmp_path / "c.csv")["step"].tolist() == [2]
    record = json.loads((tmp_path / "r.json").read_text())
    assert record["steps"] == 2
    assert len(load_file(tmp_path / "w.safetensors")) > 100
    done = subprocess.run(
        [*map(str, command), "--seed", "5"], check=False, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "is of a training with {'seed': 0, 'steps': 2" in done.stderr.splitlines()[-1]
