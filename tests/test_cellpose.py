"""Cellpose: flows to the centre, what is learned and what not, the same nuclei in any tile."""

import numpy as np
import pytest
import torch
from scipy import ndimage
from tiling import least_overlap, segment_in_tiles

from cellsieve.errors import UserError
from cellsieve.segmenters import load_segmenter, save_segmenter
from cellsieve.segmenters.cellpose import (
    VARIANTS,
    CellposeNetwork,
    CellposeSegmenter,
    confidence,
    draw,
    gather,
)
from cellsieve.training.cellpose import collate, loss, recipe
from cellsieve.training.recipe import Example
from cellsieve.training.trainer import Schedule, Trainer

RADIUS = 15


def discs(shape, centres, radius=RADIUS):
    """Labels of discs; where two meet, the border is half way."""
    y, x = np.indices(shape)
    distance = np.array([np.hypot(y + 0.5 - cy, x + 0.5 - cx) for cy, cx in centres])
    return np.where(distance.min(0) < radius, distance.argmin(0) + 1, 0).astype(np.int32)


def light(labels, rng=None):
    """Discs of brightness 1 with soft edges; with a generator, of any brightness, and noise."""
    level = np.ones(labels.max() + 1)
    if rng is not None:
        level = np.exp(rng.uniform(-1.5, 1, len(level)))
    level[0] = 0
    picture = ndimage.gaussian_filter(level[labels], 1.0)
    if rng is not None:
        picture = picture + 0.01 * rng.standard_normal(labels.shape)
    return picture.astype(np.float32)


def batch_of_discs(step):
    rng = np.random.default_rng(step)
    examples = []
    for _ in range(2):
        first = rng.uniform(15, 81, 2)
        angle = rng.uniform(0, 2 * np.pi)
        beside = first + 2 * RADIUS * np.array([np.sin(angle), np.cos(angle)])
        centres = [first, beside, rng.uniform(0, 96, 2)]
        labels = discs((96, 96), [c for n, c in enumerate(centres) if apart(c, centres[:n])])
        examples.append(Example(light(labels, rng), labels, np.zeros((96, 96), bool)))
    return collate(examples)


def apart(centre, others):
    return all(np.hypot(*(centre - other)) > 1.9 * RADIUS for other in others)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Train the narrow network on discs, quickly."""
    torch.manual_seed(1)
    how = recipe("narrow")
    trainer = Trainer(
        how.build(None), batch_of_discs, how.loss, Schedule(100, 3e-3, seed=0, warm_up=10)
    )
    for _ in trainer.run(100):
        pass
    path = tmp_path_factory.mktemp("weights") / "discs.safetensors"
    save_segmenter(path, trainer.average, how.engine, how.notes)
    return path


@pytest.fixture(scope="module")
def segmenter(weights):
    return load_segmenter(weights, "cpu", "cellpose")


def outline(segmenter, picture):
    return segmenter.segment(picture, *(np.arange(n) + 0.5 for n in picture.shape))


def iou(first, second):
    return np.count_nonzero(first & second) / np.count_nonzero(first | second)


def test_nuclei_do_not_depend_on_the_tiles(segmenter, monkeypatch):
    """Tiles of 128 px, and the same half a tile further; some nuclei lie on every border."""
    rng = np.random.default_rng(1)
    centres = np.mgrid[20:400:40, 20:400:40].reshape(2, -1).T
    centres = centres + rng.uniform(-4, 4, centres.shape)
    picture = light(discs((400, 400), centres))
    monkeypatch.setattr(segmenter, "side", 128)
    tiled = [
        segment_in_tiles(segmenter, picture, segmenter.diameter, offset)
        for offset in ((0, 0), (64, 64))
    ]
    assert tiled[0].max() > 0.9 * len(centres)
    assert least_overlap(*tiled) > 0.98


def test_flows_of_a_disc_point_to_its_centre():
    labels = discs((64, 48), [(30.5, 24.5)], radius=12)
    batch = collate([Example(light(labels), labels, np.zeros(labels.shape, bool))])
    assert [tuple(part.shape) for part in batch] == [
        (1, 1, 64, 48), (1, 64, 48), (1, 2, 64, 48), (1, 64, 48)
    ]  # fmt: skip
    y, x = np.nonzero(labels)
    toward = np.array([30 - y, 24 - x], float)
    distance = np.hypot(*toward)
    far = distance > 2
    cosine = (batch.flows[0].numpy()[:, y, x] * toward)[:, far].sum(0) / distance[far]
    assert cosine.min() > 0.97
    assert not batch.flows[0].numpy()[:, labels == 0].any()
    assert np.array_equal(batch.nucleus[0].numpy(), labels > 0)


def test_the_loss_of_a_known_error():
    labels = discs((32, 32), [(16, 16)], radius=8)
    batch = collate([Example(light(labels), labels, np.zeros(labels.shape, bool))])
    sure = 60 * batch.nucleus[:, None] - 30
    right = torch.cat([5 * batch.flows, sure], 1)
    value, error = loss(lambda pictures: right, batch)
    assert value.item() == pytest.approx(0, abs=1e-6)
    assert error == pytest.approx(0, abs=1e-6)
    # flows (0, 0) cost half the mean of the squares of both components, 25 / 2 / 2 a nucleus pixel
    share = (labels > 0).mean()
    blind = torch.cat([0 * batch.flows, sure], 1)
    value, error = loss(lambda pictures: blind, batch)
    assert value.item() == pytest.approx(25 / 4 * share, rel=0.02)  # the centre itself has no flow
    assert error == pytest.approx(1, abs=0.02)


def test_nothing_is_learned_where_nothing_is_known():
    labels = discs((32, 32), [(10, 10)], radius=6)
    ignored = np.zeros((32, 32), bool)
    ignored[8:, 8:] = True  # a part of the nucleus too: that is known all the same
    batch = collate([Example(light(labels), labels, ignored)])
    predicted = torch.randn(1, 3, 32, 32, requires_grad=True)
    loss(lambda pictures: predicted, batch)[0].backward()
    learned = predicted.grad[0].abs().sum(0).numpy() > 0
    assert np.array_equal(learned, ~ignored | (labels > 0))


def test_pictures_of_nothing_known_have_a_loss_all_the_same():
    nothing = np.zeros((16, 16), np.int32)
    batch = collate([Example(light(nothing), nothing, np.ones((16, 16), bool))])
    network = CellposeNetwork(VARIANTS["narrow"])
    value, error = loss(network, batch)
    assert value.item() == error == 0


def test_touching_discs_are_two_nuclei(segmenter):
    centres = [(40, 40), (40, 70), (100, 60), (90, 110)]
    labels = discs((144, 160), centres)
    found = outline(segmenter, light(labels))
    assert found.labels.dtype == np.int32
    assert found.labels.max() == 4
    assert found.confidence.shape == (5,)
    assert found.confidence[0] == 0
    assert found.confidence[1:].min() > 0.8
    for number, (y, x) in enumerate(centres, 1):
        assert iou(found.labels == found.labels[y, x], labels == number) > 0.8


def test_the_brightness_of_a_nucleus_may_differ_tenfold(segmenter):
    labels = discs((96, 160), [(48, 40), (48, 120)])
    found = outline(segmenter, light(labels) * np.where(labels == 1, 2.0, 0.2).astype(np.float32))
    assert iou(found.labels > 0, labels > 0) > 0.8


def test_nuclei_move_with_the_picture(segmenter):
    centres = np.array([[150, 150], [150, 180], [170, 220]])
    first = outline(segmenter, light(discs((400, 400), centres))).labels
    moved = outline(segmenter, light(discs((400, 400), np.add(centres, [8, 24])))).labels
    assert first.max() == 3
    assert np.array_equal(first[100:250, 100:280], moved[108:258, 124:304])


def test_nothing_in_the_dark_and_what_is_no_number_is_dark(segmenter):
    dark = np.zeros((64, 80), np.float32)
    found = outline(segmenter, dark)
    assert not found.labels.any()
    assert list(found.confidence) == [0]
    labels = discs((96, 96), [(48, 48)])
    picture = light(labels)
    picture[:8] = 0
    holed = picture.copy()
    holed[:8] = [[np.nan], [np.inf]] * 4
    assert np.array_equal(outline(segmenter, holed).labels, outline(segmenter, picture).labels)


def ideal(labels):
    """Flows and logit as a perfect network would predict them."""
    batch = collate([Example(light(labels), labels, np.zeros(labels.shape, bool))])
    logit = np.where(labels > 0, 4, -4).astype(np.float32)
    return 5 * batch.flows[0].numpy(), logit


def test_flows_of_labels_lead_back_to_them():
    labels = discs((120, 150), [(30, 30), (30, 58), (50, 44), (100, 100)])
    found = gather(*ideal(labels))
    assert found.max() == 4
    for number in range(1, 5):
        number_found = np.bincount(found[labels == number]).argmax()
        assert iou(found == number_found, labels == number) > 0.98


def test_a_nucleus_may_fill_its_picture():
    labels = discs((48, 48), [(24, 24)], radius=22)
    assert (labels > 0).mean() > 0.5
    assert iou(gather(*ideal(labels)) > 0, labels > 0) > 0.98


def test_a_nucleus_is_one_piece_without_holes():
    labels = discs((64, 96), [(32, 32)], radius=20)
    flows, logit = ideal(labels)
    logit[29, 41] = -4  # a hole
    y, x = np.indices(labels.shape)
    logit[y - x == 18] = -4  # and a slanting cut, which flows cross: the smaller part goes
    found = gather(flows, logit)
    assert found.max() == found[29, 41] == 1
    assert np.array_equal(found > 0, (labels > 0) & (y - x < 18))


def test_confidence_is_the_mean_chance():
    labels = np.array([[1, 1, 0], [3, 0, 0]])
    logit = np.log(np.float32([[0.9, 0.5, 0.01], [0.8, 0.3, 0.2]]))
    logit -= np.log(1 - np.exp(logit))
    assert np.allclose(confidence(labels, logit), [0, 0.7, 0, 0.8], atol=1e-6)


def test_outlines_are_drawn_where_the_logit_is_0():
    """A disc of radius 10.3 whose logit is the distance to its edge, seen three times as large."""
    y, x = np.indices((40, 40)) + 0.5
    logit = (10.3 - np.hypot(y - 19.2, x - 21.4)).astype(np.float32)
    at = (np.arange(120) + 0.5) / 3
    found = draw((logit > 0).astype(np.int32), logit, at, at)
    truth = np.hypot(at[:, None] - 19.2, at[None] - 21.4) < 10.3
    assert iou(found > 0, truth) > 0.97  # of whole pixels: 0.93
    same = np.arange(40) + 0.5
    assert np.array_equal(draw((logit > 0).astype(np.int32), logit, same, same), logit > 0)


def test_no_outline_where_a_nucleus_was_dropped():
    labels = discs((48, 80), [(24, 24), (24, 54)])
    logit = np.where(labels > 0, 4, -4).astype(np.float32)
    kept = np.where(labels == 1, 1, 0).astype(np.int32)
    at = np.arange(48) + 0.5, np.arange(80) + 0.5
    assert np.array_equal(draw(kept, logit, *at), kept)


def test_weights_come_back_from_their_file(weights, segmenter):
    notes = {"variant": "narrow", "diameter": "30"}
    again = CellposeSegmenter(segmenter.network.state_dict(), notes, "again", "cpu")
    assert (segmenter.diameter, segmenter.name.split("@")[0]) == (30, "discs.safetensors")
    picture = light(discs((64, 64), [(30, 30)]))
    for one, other in zip(segmenter.predict(picture), again.predict(picture), strict=True):
        assert np.array_equal(one, other)


def test_a_checkpoint_of_cellpose_is_a_start():
    from cellpose.resnet_torch import CPnet

    torch.manual_seed(0)
    official = CPnet([2, 32, 64, 128, 256], 3, 3).eval()
    state = official.state_dict()
    # those of Cellpose 1 say no diameter
    old = {name: v for name, v in state.items() if not name.startswith("diam_")}
    started = recipe("nuclei").build(old)
    assert started.training
    assert float(started.diam_mean) == 17
    picture = torch.rand(1, 1, 32, 32)
    with torch.inference_mode():
        expected = official(torch.cat([picture, torch.zeros_like(picture)], 1))[0]
        assert torch.allclose(started.eval()(picture), expected)


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"W2": torch.zeros(1)}, "unknown W2"),
        ({"output.2.bias": torch.zeros(5)}, "output.2.bias is (5,) instead of (3,)"),
        ({"output.2.bias": None}, "there is no output.2.bias"),
    ],
)
def test_other_weights_are_refused_by_name(tmp_path, segmenter, change, fault):
    state = {**segmenter.network.state_dict(), **change}
    state = {name: v for name, v in state.items() if v is not None}
    with pytest.raises(UserError) as refused:
        recipe("narrow").build(state)
    assert fault in str(refused.value)
    notes = {"variant": "narrow", "diameter": "30"}
    save_segmenter(tmp_path / "other.safetensors", state, "cellpose", notes)
    with pytest.raises(UserError, match=r"other\.safetensors: not the weights") as refused:
        load_segmenter(tmp_path / "other.safetensors", "cpu")
    assert fault in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_variant_that_is_none():
    with pytest.raises(UserError, match="'huge'; allowed: standard, narrow, nuclei, cyto3"):
        recipe("huge")
