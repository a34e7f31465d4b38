"""Mask R-CNN: nothing is learnt from ignored pixels; as many nuclei as there are, anywhere."""

import numpy as np
import pytest
import torch
from tiling import least_overlap, segment_in_tiles

from cellsieve.errors import UserError
from cellsieve.segmenters import load_segmenter, save_segmenter
from cellsieve.segmenters.maskrcnn import MaskRcnnSegmenter, paste, visible
from cellsieve.segmenters.maskrcnn_network import MaskRcnn, mask_loss, share_inside
from cellsieve.training.maskrcnn import collate, describe, loss, recipe
from cellsieve.training.recipe import Example

LIGHT = recipe("light")
STEPS = 100


def disc(shape, centre, radius):
    rows, cols = np.indices(shape) + 0.5
    return np.hypot(rows - centre[0], cols - centre[1]) < radius


def discs(shape, centres, radii):
    """Bright discs, all of them labelled."""
    labels = np.zeros(shape, np.int32)
    for n, (centre, radius) in enumerate(zip(centres, radii, strict=True), 1):
        labels[disc(shape, centre, radius)] = n
    return Example((labels > 0).astype(np.float32), labels, np.zeros(shape, bool))


def scattered(rng, side):
    """Discs on a grid of random pitch, some places left empty."""
    places = np.arange(rng.uniform(-20, 20), side, rng.uniform(34, 50))
    centres = [(y, x) for y in places for x in places if rng.random() < 0.8]
    example = discs((side, side), centres, rng.uniform(10, 16, len(centres)))
    light = np.append(0, rng.uniform(0.6, 1.4, len(centres)))[example.labels]
    return example._replace(picture=light.astype(np.float32))


@pytest.fixture(scope="module")
def trained():
    """Weights of the light network after some steps on discs."""
    rng = np.random.default_rng(0)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = LIGHT.build(None)
        optimiser = torch.optim.AdamW(network.parameters())
        for step in range(STEPS):
            for group in optimiser.param_groups:
                group["lr"] = LIGHT.rate * min(1, (step + 1) / 10, 3 * (1 - step / STEPS))
            with torch.autocast("cpu", dtype=torch.bfloat16):
                value, _ = LIGHT.loss(network, LIGHT.collate([scattered(rng, 128)]))
            value.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimiser.step()
            optimiser.zero_grad()
    return network.state_dict()


@pytest.fixture(scope="module")
def segmenter(trained):
    return MaskRcnnSegmenter(trained, LIGHT.notes, "discs", "cpu")


def middles(side, start=0):
    return np.arange(start, start + side) + 0.5


def test_all_of_many_nuclei_are_found(segmenter):
    centres = [(y, x) for y in range(24, 440, 40) for x in range(24, 600, 40)]
    truth = discs((448, 608), centres, np.resize([12, 14, 15], len(centres))).labels
    assert truth.max() == 165
    found = segmenter.segment((truth > 0).astype(np.float32), middles(448), middles(608))
    assert len(found.confidence) == 166
    assert found.confidence[1:].min() > 0.5
    for n, (y, x) in enumerate(centres, 1):
        one, other = truth == n, found.labels == found.labels[y, x]
        assert (one & other).sum() / (one | other).sum() > 0.6


@pytest.fixture
def touching():
    """Three nuclei, two of which touch."""
    return discs((96, 96), [(30, 30), (30, 58), (65, 44)], [13, 15, 12]).picture


def test_nuclei_do_not_depend_on_the_tiles(segmenter, monkeypatch):
    """Tiles of 128 px, and the same half a tile further; some nuclei lie on every border."""
    rng = np.random.default_rng(1)
    centres = np.mgrid[20:400:36, 20:400:36].reshape(2, -1).T
    centres = centres + rng.uniform(-4, 4, centres.shape)
    field = discs((400, 400), centres, rng.uniform(11, 15, len(centres)))
    monkeypatch.setattr(segmenter, "side", 128)
    tiled = [
        segment_in_tiles(segmenter, field.picture, segmenter.diameter, offset)
        for offset in ((0, 0), (64, 64))
    ]
    assert tiled[0].max() > 0.9 * len(centres)
    assert least_overlap(*tiled) > 0.98


def test_the_result_moves_with_the_picture(segmenter, touching):
    halo, down, right = segmenter.halo, segmenter.step, 2 * segmenter.step
    still = np.pad(touching, ((halo, halo + down), (halo, halo + right)))
    moved = np.pad(touching, ((halo + down, halo), (halo + right, halo)))
    first = segmenter.segment(still, middles(96, halo), middles(96, halo))
    second = segmenter.segment(moved, middles(96, halo + down), middles(96, halo + right))
    assert first.labels.max() == 3
    assert np.array_equal(first.labels, second.labels)
    assert np.allclose(first.confidence, second.confidence, atol=1e-3)


def test_the_result_is_drawn_at_the_resolution_that_is_asked_for(segmenter, touching):
    coarse = segmenter.segment(touching, middles(96), middles(96)).labels
    quarters = np.arange(0.125, 96, 0.25)
    fine = segmenter.segment(touching, quarters, quarters).labels
    areas = np.bincount(fine.ravel())[1:] / 16
    assert areas == pytest.approx(np.bincount(coarse.ravel())[1:], rel=0.02)


def test_nothing_is_found_where_nothing_is(segmenter):
    found = segmenter.segment(np.zeros((64, 96), np.float32), middles(64), middles(96))
    assert found.labels.shape == (64, 96)
    assert not found.labels.any()
    assert np.array_equal(found.confidence, [0])


def test_the_share_of_a_box_on_ignored_pixels():
    ignored = torch.zeros(20, 30, dtype=torch.bool)
    ignored[5:10, 10:20] = True
    boxes = torch.tensor(
        [
            [10.0, 5, 20, 10],  # all of it
            [10, 0, 20, 10],  # half
            [0, 0, 10, 10],  # beside it
            [-20, 5, 20, 10],  # half of what is in the picture
            [12, 6, 12, 8],  # no pixel
        ]
    )
    assert share_inside(boxes, ignored).tolist() == [1, 0.5, 0, 0.5, 0]


# a labelled nucleus, and one that is there but not known
KNOWN, IGNORED = (32, 32), (32, 96)


def half_known():
    shape = (64, 128)
    example = discs(shape, [KNOWN, IGNORED], [16, 16])
    labels = np.where(example.labels == 1, 1, 0).astype(np.int32)
    return example._replace(labels=labels, ignored=example.labels == 2)


def targets_of(example):
    batch = collate([example])
    return describe(batch.labels[0], batch.ignored[0])


# x and y of corners: each nucleus, beside it, inside it, background
BOXES = torch.tensor(
    [
        [16.0, 16, 48, 48],
        [80, 16, 112, 48],
        [84, 20, 108, 44],
        [96, 16, 128, 48],
        [36, 0, 60, 24],
        [0, 48, 16, 64],
    ]
)


def test_boxes_on_ignored_nuclei_are_no_background():
    rpn = MaskRcnn("light").rpn
    target = targets_of(half_known())
    labels, matched = rpn.assign_targets_to_anchors([BOXES], [target])
    # the ignored disc covers 0.78, 0.93 and 0.39 of the three boxes around it
    assert labels[0].tolist() == [1, -1, -1, 0, 0, 0]
    assert matched[0][0].tolist() == [16, 16, 48, 48]
    everything = {**target, "ignored": torch.zeros(64, 128, dtype=torch.bool)}
    labels, _ = rpn.assign_targets_to_anchors([BOXES], [everything])
    assert labels[0].tolist() == [1, 0, 0, 0, 0, 0]


def test_proposals_on_ignored_nuclei_are_not_drawn():
    heads = MaskRcnn("light").roi_heads
    boxes, _, labels, _ = heads.select_training_samples([BOXES], [targets_of(half_known())])
    drawn = {tuple(box) for box in boxes[0].tolist()}
    assert drawn == {tuple(BOXES[i].tolist()) for i in (0, 3, 4, 5)}
    assert labels[0].tolist() == [1, 0, 0, 0, 1]  # the nucleus itself is added


def test_a_nucleus_amid_ignored_pixels_is_still_learnt():
    labels = torch.zeros(64, 64, dtype=torch.int32)
    labels[16:48, 30:34] = 1
    labels[30:34, 16:48] = 1  # a cross: a quarter of its box
    target = describe(labels, torch.ones(64, 64, dtype=torch.bool))
    assert target["boxes"].tolist() == [[16, 16, 48, 48]]
    assert not (target["ignored"] & (labels > 0)).any()
    network = MaskRcnn("light")
    anchors, _ = network.rpn.assign_targets_to_anchors([BOXES[:1]], [target])
    assert anchors[0].tolist() == [1]
    _, _, drawn, _ = network.roi_heads.select_training_samples([BOXES[:1]], [target])
    assert drawn[0].tolist() == [1, 1]


def test_the_mask_loss_is_blind_where_nothing_is_known():
    labels = torch.zeros(32, 32, dtype=torch.int32)
    labels[4:28, 4:16] = 1  # the left half of its box
    ignored = torch.zeros(32, 32, dtype=torch.bool)
    ignored[:, 22:] = True  # the last quarter
    box, number = torch.tensor([[4.0, 4, 28, 28]]), torch.tensor([0])
    logits = torch.zeros(1, 4, 4, requires_grad=True)
    value = mask_loss(logits, [box], [number], [describe(labels, ignored)])
    value.backward()
    assert value.item() == pytest.approx(np.log(2))
    # (0.5 - truth) of the mean over three columns of four
    assert torch.allclose(logits.grad[0], torch.tensor([-1.0, -1, 1, 0]).expand(4, 4) / 24)


def gradient(example):
    torch.manual_seed(3)
    network = LIGHT.build(None)
    value, _ = loss(network, collate([example, example]))
    value.backward()
    return value, network.rpn.head.cls_logits.weight.grad


def test_ignored_pixels_change_the_gradient_and_the_seed_decides_all_else():
    example = half_known()
    blind, again = gradient(example), gradient(example)
    seeing = gradient(example._replace(ignored=np.zeros_like(example.ignored)))
    assert all(map(torch.equal, blind, again))
    assert not torch.equal(blind[1], seeing[1])


@pytest.mark.parametrize("unknown", [False, True], ids=["empty", "all ignored"])
def test_pictures_without_nuclei_train_too(unknown):
    shape = (64, 64)
    empty = Example(np.zeros(shape, np.float32), np.zeros(shape, np.int32), np.full(shape, unknown))
    network = LIGHT.build(None)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value, figure = loss(network, collate([empty, empty]))
    value.backward()
    assert figure == 0
    assert torch.isfinite(value)
    assert (value.item() == 0) == unknown
    assert all(p.grad is None or p.grad.isfinite().all() for p in network.parameters())


def test_a_mask_is_pasted_to_parts_of_a_pixel():
    box, mask = np.array([2.5, 1.0, 8.1, 6.6]), np.ones((28, 28), np.float32)
    window, inside = paste(box, mask, middles(10), middles(10))
    assert window == (slice(1, 7), slice(2, 8))  # middles 1.5 to 6.5, and 2.5 to 7.5
    assert inside[:, 1:].all()
    window, inside = paste(box, mask, np.arange(0.05, 10, 0.1), np.arange(0.05, 10, 0.1))
    assert inside.sum() / 100 == pytest.approx(5.6**2, rel=0.04)


def test_of_the_same_nucleus_twice_the_surer_is_kept():
    masks = np.ones((3, 28, 28), np.float32)
    boxes = np.array([[0, 0, 10, 10], [0, 4, 10, 14], [0, 7, 10, 17]], np.float32)
    # the second is hidden by 0.6; the third by 0.3 of the first alone
    assert visible(boxes, masks, (20, 20)).tolist() == [0, 2]


def test_weights_survive_a_file(trained, segmenter, tmp_path):
    path = tmp_path / "discs.safetensors"
    save_segmenter(path, trained, LIGHT.engine, LIGHT.notes)
    loaded = load_segmenter(path, "cpu", "maskrcnn")
    assert loaded.diameter == LIGHT.diameter == 32
    picture = discs((64, 96), [(32, 30), (30, 66)], [14, 13]).picture
    for one, other in zip(segmenter.detect(picture), loaded.detect(picture), strict=True):
        assert np.array_equal(one, other)


@pytest.mark.parametrize("notes", [{"backbone": "resnet18"}, {"backbone": "light"}, {}])
def test_other_weights_are_refused_in_one_line(notes, tmp_path):
    path = tmp_path / "other.safetensors"
    save_segmenter(path, {"weight": torch.zeros(3)}, "maskrcnn", notes)
    with pytest.raises(UserError) as refused:
        load_segmenter(path, "cpu")
    message = str(refused.value)
    assert "\n" not in message
    assert str(path) in message
    if notes.get("backbone") == "resnet18":
        assert "light, resnet50" in message
