"""Tiles cover a plane once, wherever the grid begins."""

import numpy as np
import pytest

from cellsieve.tiles import sample_windows, tiles


@pytest.mark.parametrize("shape", [(1, 1), (64, 64), (65, 63), (200, 7)])
@pytest.mark.parametrize("offset", [(0, 0), (1, 0), (32, 63), (64, 64)])
def test_cores_cover_each_pixel_once(shape, offset):
    seen = np.zeros(shape, int)
    for tile in tiles(shape, 64, halo=10, offset=offset):
        seen[tile.core] += 1
        padded = seen[tile.padded]
        assert padded[tile.core_in_padded].shape == seen[tile.core].shape
        assert np.shares_memory(padded[tile.core_in_padded], seen[tile.core])
    assert (seen == 1).all()


def test_a_halo_ends_at_the_border():
    middle = list(tiles((300, 300), 100, halo=20))[4]
    assert middle.core == (slice(100, 200), slice(100, 200))
    assert middle.padded == (slice(80, 220), slice(80, 220))
    first = next(tiles((300, 300), 100, halo=20))
    assert first.padded == (slice(0, 120), slice(0, 120))
    assert first.core_in_padded == (slice(0, 100), slice(0, 100))


def test_sample_windows_show_what_there_is():
    """The whole of a small plane; of a large one where there is something to see."""
    assert sample_windows(np.zeros((1500, 900))) == [(slice(0, 1500), slice(0, 900))]
    assert sample_windows(np.zeros((2100, 90))) == [
        (slice(0, 1050), slice(0, 90)),
        (slice(1050, 2100), slice(0, 90)),
    ]
    plane = np.random.default_rng(0).poisson(100, (400, 500))
    plane[210:280, 130:170] += 50
    windows = sample_windows(plane, size=100, most=3)
    assert len(windows) == 3
    assert (slice(200, 300), slice(100, 200)) in windows
    assert windows == sorted(windows, key=lambda w: (w[0].start, w[1].start))
