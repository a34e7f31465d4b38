"""Fixtures that more than one file of tests uses."""

import numpy as np
import pytest
from checkout import NORMAL, PATIENT, draw, make_checkout, write_field


@pytest.fixture
def checkout(tmp_path):
    """Return a checkout with fields of two slides, one of them the reference."""
    made = make_checkout(tmp_path / "checkout")
    for seed, row in enumerate((NORMAL, PATIENT)):
        write_field(made.folder / "in" / row["image"], draw(seed))
    made.write_sheet(NORMAL, PATIENT)
    return made


@pytest.fixture
def pixels():
    """Three channels with a size that is no multiple of any tile or strip."""
    return np.random.default_rng(1).integers(0, 60000, (3, 130, 170), dtype=np.uint16)
