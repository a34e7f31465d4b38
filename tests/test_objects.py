"""Objects are visited whole and once, whatever their numbers and size."""

import numpy as np
import pytest
from skimage.measure import regionprops

from cellsieve import objects
from cellsieve.objects import batches, bounding_boxes


@pytest.fixture
def labels(monkeypatch):
    """Rectangles across 32 px tiles, one larger than a tile, with far-apart numbers."""
    monkeypatch.setattr(objects, "TILE", 32)
    image = np.zeros((100, 130), np.uint32)
    image[3:9, 28:40] = 5
    image[60:99, 20:90] = 3_000_000_000
    image[30:34, 30:34] = 70_000
    image[99, 129] = 1
    return image


def test_boxes_are_those_of_regionprops(labels):
    boxes = bounding_boxes(labels)
    assert boxes.index.tolist() == [1, 5, 70_000, 3_000_000_000]
    numbers = np.unique(labels, return_inverse=True)[1].reshape(labels.shape)
    expected = [region.bbox for region in regionprops(numbers)]
    assert [tuple(row) for row in boxes.to_numpy()] == expected


def test_each_object_is_whole_in_its_batch_with_its_margin(labels):
    seen = []
    for batch in batches(labels, margin=2):
        region = labels[batch.region]
        for label in batch.labels:
            assert (region == label).sum() == (labels == label).sum()
        seen += batch.labels.tolist()
    assert sorted(seen) == [1, 5, 70_000, 3_000_000_000]
    first = next(batch for batch in batches(labels, margin=2) if 5 in batch.labels)
    assert first.region[0] == slice(1, 11)


def test_no_object_no_batch():
    empty = np.zeros((50, 50), np.uint32)
    assert bounding_boxes(empty).empty
    assert list(bounding_boxes(empty)) == ["y0", "x0", "y1", "x1"]
    assert list(batches(empty)) == []


def test_a_tile_without_background(monkeypatch):
    monkeypatch.setattr(objects, "TILE", 4)
    labels = np.repeat(np.array([[7, 9]], np.uint32), 8, axis=0).repeat(4, axis=1)
    assert bounding_boxes(labels).to_numpy().tolist() == [[0, 0, 8, 4], [0, 4, 8, 8]]
