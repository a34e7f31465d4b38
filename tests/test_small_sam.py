"""The small promptable model: the same answer wherever a picture was cut, and its weights."""

import numpy as np
import pytest
import torch

from cellsieve.promptable import load_model
from cellsieve.promptable.interface import Prompts
from cellsieve.promptable.small_network import TOKENS, SmallSam, cut_windows
from cellsieve.promptable.small_sam import SmallPromptable
from cellsieve.weights import FOLDER

DISC = 16  # px, radius


@pytest.fixture(scope="module")
def model():
    return load_model("small", FOLDER, "cpu")


def picture(shape, centres):
    rows, cols = np.indices(shape)
    inside = [np.hypot(rows + 0.5 - y, cols + 0.5 - x) < DISC for y, x in centres]
    return np.any(inside, axis=0).astype(np.float32)


def prompts(centres, *, boxes):
    points = np.array([[(x, y)] for y, x in centres], np.float32)
    sides = [[x - DISC, y - DISC, x + DISC, y + DISC] for y, x in centres]
    labels = np.ones((len(centres), 1), int) if not boxes else np.full((len(centres), 1), -1)
    return Prompts(points, labels, np.array(sides, np.float32) if boxes else None)


def iou_with_disc(answers, n, centre):
    best = answers.predicted_iou[n].argmax()
    mask = answers.logits[n, best] > 0
    rows, cols = np.indices(mask.shape)
    y, x = centre - answers.origins[n]
    truth = np.hypot(rows + 0.5 - y, cols + 0.5 - x) < DISC
    return (mask & truth).sum() / (mask | truth).sum()


@pytest.mark.parametrize("boxes", [True, False], ids=["box", "point"])
def test_discs_are_outlined_also_where_they_touch(model, boxes):
    centres = np.array([[60.0, 60.0], [60.0, 91.0], [140.0, 150.0]])
    embedding = model.embed(picture((200, 208), centres))
    answers = model.answer(embedding, prompts(centres, boxes=boxes))
    assert answers.logits.shape == (3, 3, 96, 96)
    assert min(iou_with_disc(answers, n, c) for n, c in enumerate(centres)) > 0.8


def test_an_answer_moves_with_the_picture(model):
    centres = np.array([[150.0, 150.0], [150.0, 181.0]])
    first = model.answer(model.embed(picture((320, 320), centres)), prompts(centres, boxes=True))
    moved = np.add(centres, [32, -16])
    second = model.answer(model.embed(picture((320, 320), moved)), prompts(moved, boxes=True))
    assert np.allclose(second.origins - first.origins, [32, -16])
    assert np.allclose(first.logits, second.logits, atol=0.05)


def test_folding_the_normalisation_changes_nothing():
    torch.manual_seed(1)
    network = SmallSam()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.running_mean, -0.2, 0.2)
            torch.nn.init.uniform_(module.running_var, 0.5, 2.0)
    image = torch.rand(1, 1, 64, 80)
    with torch.inference_mode():
        expected = network.eval().embed(image)[0]
        folded = SmallPromptable(network.state_dict(), "random", "cpu").embed(image[0, 0].numpy())
    assert torch.allclose(expected, folded, atol=1e-4)


def test_windows_beyond_the_edge_are_zero_there():
    embedding = torch.arange(1.0, 1 + 2 * 30 * 32).reshape(2, 30, 32)
    windows = cut_windows(embedding, torch.tensor([[3, 5], [-4, 20]]))
    assert torch.equal(windows[0], embedding[:, 3 : 3 + TOKENS, 5 : 5 + TOKENS])
    assert torch.equal(windows[1][:, 4:, :12], embedding[:, : TOKENS - 4, 20:])
    assert not windows[1][:, :4].any()
    assert not windows[1][:, :, 12:].any()


def test_a_negative_point_far_away_changes_nothing(model):
    centres = np.array([[60.0, 60.0]])
    embedding = model.embed(picture((200, 208), centres))
    near = prompts(centres, boxes=False)
    far = Prompts(
        np.concatenate([near.points, [[[190.0, 190.0]]]], axis=1).astype(np.float32),
        np.concatenate([near.point_labels, [[0]]], axis=1),
        None,
    )
    unused = Prompts(far.points, np.array([[1, -1]]), None)
    assert np.array_equal(
        model.answer(embedding, far).logits, model.answer(embedding, unused).logits
    )
