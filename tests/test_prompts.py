"""Points and boxes lie where the table says, in SAM's coordinates."""

import numpy as np
import pandas as pd
import pytest

from cellsieve.pseudo_labelling.prompts import (
    MOST_NEIGHBOURS,
    build_prompts,
    darkest_pixel,
    neighbouring_centres,
)


def table(centres, area=100, **more):
    centres = np.reshape(np.asarray(centres, float), (-1, 2))
    y, x = centres.T
    columns = {
        "y_px": y,
        "x_px": x,
        "top_px": y.astype(int) - 5,
        "left_px": x.astype(int) - 6,
        "bottom_px": y.astype(int) + 7,
        "right_px": x.astype(int) + 8,
        "area_px": area,
        "negative_y_px": 3.0,
        "negative_x_px": 9.0,
        "kept": True,
    }
    return pd.DataFrame(columns | more)


def test_points_and_boxes_by_hand():
    points, sides, boxes = build_prompts(table([(20, 30)]), ("point", "box", "darkest"))
    assert points.tolist() == [[[30.5, 20.5], [9.5, 3.5]]]
    assert sides.tolist() == [[1, 0]]
    assert boxes.tolist() == [[24, 15, 38, 27]]
    assert points.dtype == boxes.dtype == np.float32


def test_only_what_is_asked_for():
    rows = table([(20, 30), (50, 60)])
    points, sides, boxes = build_prompts(rows, ("box",))
    assert points.shape == (2, 0, 2)
    assert sides.shape == (2, 0)
    assert boxes.shape == (2, 4)
    points, _, boxes = build_prompts(rows, ("point",))
    assert points.shape == (2, 1, 2)
    assert boxes is None
    with pytest.raises(ValueError, match="dots"):
        build_prompts(rows, ("point", "dots"))


def test_neighbours_are_the_nearest_others_within_two_diameters():
    # discs of 100 px have a diameter of 11.3
    rows = table([(0, 0), (0, 10), (0, 22), (0, 200)], kept=[True, False, True, True])
    found = neighbouring_centres(rows, 2)
    assert found.shape == (4, 2, 2)
    assert found[0].tolist() == [[0, 10], [0, 22]]
    assert found[1].tolist() == [[0, 0], [0, 22]]
    assert found[2].tolist() == [[0, 10], [0, 0]]
    assert np.isnan(found[3]).all()
    assert neighbouring_centres(rows, 1)[1].tolist() == [[0, 0]]


def test_neighbours_agree_with_all_distances():
    centres = np.random.default_rng(0).uniform(0, 100, (60, 2))
    found = neighbouring_centres(table(centres), 3)
    for centre, mine in zip(centres, found, strict=True):
        distance = np.hypot(*(centres - centre).T)
        near = [i for i in np.argsort(distance)[1:4] if distance[i] <= 4 * np.sqrt(100 / np.pi)]
        assert mine[: len(near)].tolist() == centres[near].tolist()
        assert np.isnan(mine[len(near) :]).all()


@pytest.mark.parametrize("centres", [np.empty((0, 2)), [(5, 5)], [(5, 5)] * 20])
def test_none_one_and_many_at_one_place(centres):
    rows = table(centres)
    points, sides, boxes = build_prompts(rows, ("point", "box", "darkest", "neighbours"))
    assert points.shape == (len(rows), 2 + MOST_NEIGHBOURS, 2)
    assert sides.shape == points.shape[:2]
    assert boxes.shape == (len(rows), 4)
    assert np.isfinite(points).all()
    assert (sides[:, :2] == [1, 0]).all()
    assert (sides[:, 2:] == (0 if len(rows) > 1 else -1)).all()


def test_missing_neighbours_are_no_points():
    points, sides, _ = build_prompts(table([(0, 0), (0, 10)]), ("point", "neighbours"))
    assert sides.tolist() == [[1, 0, *[-1] * 5]] * 2
    assert points[0, 1].tolist() == [10.5, 0.5]
    assert not points[:, 2:].any()


def test_the_darkest_pixel_is_the_first_in_reading_order_whatever_the_tiles():
    plane = np.full((2100, 2200), 5, np.uint16)
    assert darkest_pixel(plane) == (0, 0)
    plane[2070, 3] = plane[40, 2150] = plane[41, 7] = 1
    assert darkest_pixel(plane) == (40, 2150)
