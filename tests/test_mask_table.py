"""Tables of masks against label images and pixel counts made the plain way."""

import numpy as np
import pandas as pd
import pytest

from cellsieve.pseudo_labelling.mask_table import draw, intersection, mask_of, touching_boxes
from cellsieve.pseudo_labelling.overlaps import overlap_complaints, without_overlap
from cellsieve.pseudo_labelling.run_length import encode

SHAPE = (60, 70)


def table(masks):
    """A row for each mask of the plane, candidates 1, 2, …"""
    rows = []
    for number, mask in enumerate(masks, 1):
        y, x = np.nonzero(mask)
        box = (y.min(), x.min(), y.max() + 1, x.max() + 1)
        runs = encode(mask[box[0] : box[2], box[1] : box[3]])
        rows.append((number, *map(int, box), runs, int(mask.sum())))
    names = ["candidate", "top_px", "left_px", "bottom_px", "right_px", "mask", "area_px"]
    return pd.DataFrame(rows, columns=names)


def square(top, left, side):
    mask = np.zeros(SHAPE, bool)
    mask[top : top + side, left : left + side] = True
    return mask


@pytest.fixture
def blobs():
    """Thirty ragged masks that overlap one another."""
    rng = np.random.default_rng(0)
    masks = []
    for _ in range(30):
        top, left = rng.integers(0, 45, 2)
        masks.append(square(top, left, rng.integers(1, 15)) & (rng.random(SHAPE) < 0.7))
    return [mask for mask in masks if mask.any()]


@pytest.mark.parametrize("region", [(0, 60, 0, 70), (7, 31, 13, 14), (20, 45, 40, 70)])
def test_what_is_drawn_is_the_plane_cut_to_the_region(blobs, region):
    plane = np.zeros(SHAPE, np.uint32)
    for number, mask in enumerate(blobs, 1):
        plane[mask] = 7 * number
    y0, y1, x0, x1 = region
    drawn = draw(table(blobs), 7 * np.arange(1, len(blobs) + 1), np.s_[y0:y1, x0:x1])
    assert np.array_equal(drawn, plane[y0:y1, x0:x1])


def test_nothing_is_drawn_of_an_empty_table_or_an_empty_mask():
    assert not draw(table([]), np.zeros(0), np.s_[0:5, 0:5]).any()
    row = table([square(1, 1, 3)])
    row["mask"] = [encode(np.zeros((3, 3), bool))]
    assert not draw(row, np.ones(1), np.s_[0:5, 0:5]).any()


def test_a_few_rows_of_a_mask_larger_than_memory_are_drawn():
    side = 10**6  # a square field of 10^12 pixels, all of it one mask
    row = pd.DataFrame(
        {"top_px": [0], "left_px": [0], "bottom_px": [side], "right_px": [side]},
    ).assign(mask=[np.array([0, side * side], np.int64)])
    assert draw(row, np.ones(1), np.s_[5000:5003, 10:20]).sum() == 30


def test_pixels_in_common_and_boxes_that_touch(blobs):
    made = table(blobs)
    rows = list(made.itertuples())
    boxes = made[["top_px", "left_px", "bottom_px", "right_px"]].to_numpy()
    expected = set()
    for i, one in enumerate(blobs):
        for j in range(i + 1, len(blobs)):
            assert intersection(rows[i], rows[j]) == (one & blobs[j]).sum()
            if (boxes[i, :2] < boxes[j, 2:]).all() and (boxes[j, :2] < boxes[i, 2:]).all():
                expected.add((i, j))
    pairs = list(touching_boxes(made))
    assert set(pairs) == expected
    assert len(pairs) == len(expected)


def test_the_better_of_two_stays_and_a_refused_one_refuses_nobody():
    # 1 and 2 share 100 of 200 pixels, 2 and 3 the same, 1 and 3 none
    masks = [np.zeros(SHAPE, bool) for _ in range(3)]
    for k, mask in enumerate(masks):
        mask[10 * k : 10 * k + 20, :10] = True
    complaints = overlap_complaints(table(masks), np.array([1.5, 1.2, 1.1]))
    assert complaints == {2: "overlaps candidate 1, which is better"}
    complaints = overlap_complaints(table(masks), np.array([1.1, 1.2, 1.1]))
    assert set(complaints) == {1, 3}


def test_a_repeated_mask_says_so_and_the_first_of_equals_stays():
    masks = [square(5, 5, 20), square(6, 5, 20)]  # IoU 380 / 420
    complaints = overlap_complaints(table(masks), np.array([1.0, 1.0]))
    assert complaints == {2: "repeats candidate 1, which is better"}


def test_a_mask_around_a_better_one_is_refused_although_it_shares_little_of_itself():
    masks = [square(0, 0, 40), square(10, 10, 8)]
    assert set(overlap_complaints(table(masks), np.array([1.0, 1.4]))) == {1}


def test_many_small_overlaps_count_together():
    middle = square(20, 20, 20)  # 400 px; each neighbour takes 40, a tenth of either
    around = [square(2, 20, 20), square(38, 20, 20), square(20, 2, 20)]
    assert overlap_complaints(table([*around[:2], middle]), np.array([2.0, 2.0, 1.0])) == {}
    assert set(overlap_complaints(table([*around, middle]), np.array([2.0, 2, 2, 1]))) == {4}


def test_pixels_claimed_twice_go_to_the_better_and_each_mask_stays_one_piece():
    bar = np.zeros(SHAPE, bool)
    bar[20:24, 0:30] = True
    across = np.zeros(SHAPE, bool)
    across[10:40, 20:22] = True  # cuts the bar into 20 and 8 columns
    made = without_overlap(table([bar, across]), np.array([1.0, 1.5]))
    first, second = (mask_of(row) for row in made.itertuples())
    assert made.area_px.tolist() == [80, 60]
    assert first[:, :20].all()
    assert not first[:, 20:].any()
    assert second.all()
