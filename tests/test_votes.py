"""The vote network: votes become nuclei, and what it is taught is what it should predict."""

import numpy as np
import pytest
import torch
from scipy import ndimage
from synthetic import draw_field

from cellsieve import choices
from cellsieve.benchmarks.metrics import iou_matrix, match
from cellsieve.errors import UserError
from cellsieve.segmenters import ENGINES, load_segmenter, save_segmenter
from cellsieve.segmenters.halves import join_halves
from cellsieve.segmenters.vote_network import VoteNetwork
from cellsieve.segmenters.votes import DIAMETER, VoteSegmenter, draw, group
from cellsieve.training.recipe import Example
from cellsieve.training.votes import RECIPE, collate, loss, targets


@pytest.fixture(scope="module")
def field():
    return draw_field((320, 352), DIAMETER, 60, seed=4, background=0, touching=0.6)


def perfect(labels):
    """What a network that knows the labels would predict."""
    nucleus, offsets, _, _ = targets(labels, np.zeros(labels.shape, bool))
    return np.where(nucleus, 6, -6).astype(np.float32), offsets


def test_pixels_near_two_nuclei_weigh_more():
    labels = np.zeros((3, 14), int)
    labels[:, 2:5], labels[:, 6:12] = 5, 2  # one pixel apart
    weight = targets(labels, labels < 0)[2]
    # within 2 px of both: columns 4 to 6; labels may have any order
    assert weight[1].tolist() == [1, 1, 1, 1, 5, 5, 5, 1, 1, 1, 1, 1, 1, 1]
    assert targets(labels, labels == 0)[2][1, 4:7].tolist() == [5, 0, 5]


def test_offsets_lead_to_the_centre():
    labels = np.zeros((12, 16), int)
    labels[2:5, 4:9] = 3
    nucleus, offsets, weight, share = targets(labels, np.zeros(labels.shape, bool))
    assert nucleus.sum() == 15
    assert offsets[:, 2, 4].tolist() == [1, 2]
    assert offsets[:, 4, 8].tolist() == [-1, -2]
    assert not offsets[:, nucleus == 0].any()
    assert (weight == 1).all()
    assert (share > 0).tolist() == (labels > 0).tolist()


def test_votes_of_touching_nuclei_become_these_nuclei(field):
    labels, confidence = group(np.ones(field.labels.shape), *perfect(field.labels))
    iou = iou_matrix(field.labels, np.where(field.labels > 0, labels, 0))
    assert match(iou, 0.99) == (len(np.unique(field.labels)) - 1, 0, 0)
    assert (confidence[np.unique(labels[labels > 0])] > 0.95).all()


def test_votes_that_disagree_are_not_trusted():
    labels = np.zeros((96, 96), int)
    labels[20:60, 20:60] = 1
    logit, offsets = perfect(labels)
    sure = group(labels > 0, logit, offsets)[1].max()
    scattered = offsets + np.random.default_rng(0).normal(0, 5, offsets.shape)
    assert group(labels > 0, logit, scattered)[1].max() < 0.5 * sure


def test_a_picture_of_nothing_has_no_nuclei():
    dark = np.full((64, 64), -5, np.float32)
    labels, confidence = group(dark * 0, dark, np.zeros((2, 64, 64), np.float32))
    assert not labels.any()
    assert confidence.tolist() == [0]


@pytest.mark.parametrize(("top", "kept"), [(0, True), (1, False)])
def test_of_a_nucleus_that_the_border_cuts_less_is_enough(top, kept):
    """7 × 8 pixels, at the border and beside it; the picture goes on beyond the field."""
    labels = np.zeros((64, 64), int)
    labels[8 + top : 15 + top, 20:28] = 1
    logit, offsets = perfect(labels)
    logit[ndimage.binary_dilation(labels > 0)] = -2  # hardly nucleus, and no reason to keep it
    logit[labels > 0] = 6
    found, _ = group(labels > 0, logit, offsets, np.s_[8:48, 8:48])
    assert found.any() == kept


def test_haze_that_the_network_hardly_takes_for_a_nucleus_is_none():
    """Two disks alike but for their mean logit, 0.9 and 1.1."""
    labels = np.zeros((64, 128), int)
    rows, cols = np.indices(labels.shape)
    labels[np.hypot(rows - 32, cols - 32) < 14] = 1
    labels[np.hypot(rows - 32, cols - 96) < 14] = 2
    logit, offsets = perfect(labels)
    logit[labels == 1], logit[labels == 2] = 0.9, 1.1
    found, confidence = group(labels > 0, logit, offsets)
    assert not found[:, :64].any()
    assert (found[labels == 2] > 0).all()
    assert confidence[found.max()] > 0.7  # 1 / (1 + exp(-1.1)) = 0.75


def test_outlines_are_drawn_finer_than_the_network_sees():
    """A half-plane that ends at x = 20.25 px, drawn four times finer."""
    x = np.arange(48) + 0.5
    logit = np.broadcast_to(20.25 - x, (48, 48)).astype(np.float32)
    labels = np.ones((48, 48), np.int32)
    places = (np.arange(192) + 0.5) / 4
    drawn = draw(logit, labels, places, places)
    assert (drawn.sum(1) == 81).all()


def test_what_is_ignored_teaches_nothing(field):
    torch.manual_seed(0)
    network = VoteNetwork()
    ignored = np.zeros(field.labels.shape, bool)
    ignored[:160] = True
    labels = np.where(ignored, 0, field.labels)
    batch = collate([Example(field.image.clip(0).astype(np.float32), labels, ignored)])
    maps = []
    network.register_forward_hook(lambda module, inputs, output: maps.append(output))
    (gradient,) = torch.autograd.grad(loss(network, batch)[0], maps)
    gradient = gradient[0].abs().sum(0).numpy()
    assert not gradient[:160].any()
    assert gradient[160:].all()


def test_the_same_nuclei_wherever_the_picture_begins():
    torch.manual_seed(0)
    segmenter = VoteSegmenter(VoteNetwork().state_dict(), {}, "random", "cpu")
    picture = np.random.default_rng(0).random((512, 512), np.float32)
    whole = segmenter.predict(picture)[1]
    part = segmenter.predict(picture[32:, 64:])[1]
    inner = np.s_[:, 200:280, 200:280]
    assert np.allclose(whole[:, 32:, 64:][inner], part[inner], atol=0.1)


def test_a_few_steps_teach_it_discs():
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    fields = [draw_field((96, 96), DIAMETER, 5, seed=i, background=0) for i in range(16)]
    network = RECIPE.build(None)
    optimiser = torch.optim.AdamW(network.parameters(), 3e-3)
    for _ in range(60):
        chosen = [fields[i] for i in rng.integers(0, 16, 4)]
        nothing = np.zeros((96, 96), bool)
        examples = [
            Example((f.image / f.image.max()).clip(0).astype(np.float32), f.labels, nothing)
            for f in chosen
        ]
        value, _ = loss(network, collate(examples))
        optimiser.zero_grad()
        value.backward()
        optimiser.step()
    unseen = draw_field((96, 96), DIAMETER, 5, seed=99, background=0)
    segmenter = VoteSegmenter(network.state_dict(), {}, "trained here", "cpu")
    places = np.arange(96) + 0.5
    picture = (unseen.image / unseen.image.max()).clip(0).astype(np.float32)
    found = segmenter.segment(picture, places, places).labels
    assert match(iou_matrix(unseen.labels, found), 0.7).f1 > 0.7


def test_weights_go_through_a_file(tmp_path):
    torch.manual_seed(1)
    state = VoteNetwork().state_dict()
    save_segmenter(tmp_path / "w.safetensors", state, "votes", {})
    segmenter = load_segmenter(tmp_path / "w.safetensors", "cpu")
    direct = VoteSegmenter(state, {}, "same", "cpu")
    picture = np.random.default_rng(0).random((64, 64), np.float32)
    assert np.array_equal(segmenter.predict(picture)[0], direct.predict(picture)[0])
    assert segmenter.name.startswith("w.safetensors@")


def broken(path, state, what):
    if what == "missing":
        return
    if what == "text":
        path.write_text("weights")
        return
    engine = "maskrcnn" if what == "other engine" else "votes"
    if what == "other network":
        state = {"layer": torch.zeros(3)}
    save_segmenter(path, state, engine, {})
    if what in ("other version", "another program's"):
        from safetensors.torch import load_file, save_file

        about = '{"engine": "votes", "version": "0"}'
        notes = {"cellsieve": about} if what == "other version" else None
        save_file(load_file(path), path, notes)


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("missing", "no such file"),
        ("text", "not a safetensors file"),
        ("other engine", "weights of the engine maskrcnn, but votes is asked for"),
        ("other network", "not the weights that votes needs"),
        ("other version", "weights of version 0"),
        ("another program's", "not weights of a segmenter"),
    ],
)
def test_wrong_weights_are_refused(tmp_path, what, message):
    path = tmp_path / "w.safetensors"
    broken(path, VoteNetwork().state_dict(), what)
    with pytest.raises(UserError, match=message) as error:
        load_segmenter(path, "cpu", "votes")
    assert "\n" not in str(error.value)


def halves(brightness=1.0, width=24, second=(0.0, 12.0)):
    """Two touching rectangles that vote for centres so far apart; labels, picture, offsets."""
    labels = np.zeros((40, 64), np.int32)
    labels[10:34, 32 - width : 32], labels[10:34, 32 : 32 + width] = 1, 2
    picture = np.select([labels == 1, labels == 2], [1.0, brightness])
    rows, cols = np.indices(labels.shape)
    centre = np.select([labels == 1, labels == 2], [32 - second[1] / 2, 32 + second[1] / 2])
    return labels, picture, np.stack([22 - rows, centre - cols]) * (labels > 0)


@pytest.mark.parametrize(
    ("pair", "joined"),
    [
        (halves(width=12, second=(0, 6)), True),
        (halves(width=12, second=(0, 20)), False),  # the votes jump
        (halves(width=12, second=(0, 6), brightness=1.5), False),  # one is brighter
        (halves(width=24, second=(0, 6)), False),  # together they are too large
    ],
)
def test_halves_of_a_nucleus_are_joined_and_neighbours_are_not(pair, joined):
    assert join_halves(*pair).tolist() == ([0, 1, 1] if joined else [0, 1, 2])


def test_engines_have_one_list_of_names():
    assert tuple(ENGINES) == choices.ENGINES
