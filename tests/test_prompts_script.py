"""The script by its command line: candidates with reasons, a picture, empty fields, mistakes."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from synthetic import draw_field, write_stage

from cellsieve.choices import COARSE
from cellsieve.pseudo_labelling.prompts import PROMPTS
from cellsieve.pseudo_labelling.run_length import decode
from cellsieve.stores import add_plane, create_zip
from cellsieve.tables import read_table

SCRIPT = Path(__file__).parents[1] / "scripts" / "prompts.py"
SHAPE = (260, 300)


@pytest.fixture(scope="module")
def field():
    drawn = draw_field(SHAPE, 24, 30, seed=2, background=0)
    image = np.maximum(drawn.image, 1)
    image[200, 40] = 0
    return drawn._replace(image=image)


def write_field(folder, image, foreground, **qc):
    write_stage(folder, image, np.zeros(image.shape, np.uint32), **qc)
    with create_zip(folder / "dapi.zarr.zip") as store:
        add_plane(store, "dapi", image.shape, np.uint16)[:] = image.astype(np.uint16)
        add_plane(store, "foreground", image.shape, np.uint8)[:] = foreground


def prompts(folder, *more):
    paths = ["--dapi", folder / "dapi.zarr.zip", "--qc", folder / "qc.json"]
    paths += ["--prompts", folder / "prompts.parquet", "--picture", folder / "prompts.png"]
    command = [sys.executable, SCRIPT, *paths, *more]
    return subprocess.run(list(map(str, command)), check=False, capture_output=True, text=True)


def test_candidates_of_a_field_and_the_same_bytes_again(tmp_path, field):
    write_field(tmp_path, field.image, field.labels > 0)
    written = []
    for _ in range(2):
        done = prompts(tmp_path, "--solidity", "0.94", "1")
        assert done.returncode == 0, done.stderr
        written.append([(tmp_path / f"prompts.{kind}").read_bytes() for kind in ("parquet", "png")])
    assert written[0] == written[1]
    table = read_table(tmp_path / "prompts.parquet")
    assert list(table.columns) == list(PROMPTS)
    assert table.candidate.tolist() == list(range(1, len(table) + 1))
    assert (table[["negative_y_px", "negative_x_px"]] == (200, 40)).all(axis=None)
    assert 20 < table.kept.sum() < len(table)
    assert (table.reason[table.kept] == "").all()
    assert (table.solidity[table.kept] >= 0.94).all()
    assert table.reason[~table.kept].str.contains("solidity 0.9").any()
    first = [row.top_px * SHAPE[1] + row.left_px + row.mask[0] for row in table.itertuples()]
    assert first == sorted(first)
    for row in table.itertuples():
        mask = decode(row.mask, (row.bottom_px - row.top_px, row.right_px - row.left_px))
        assert mask.sum() == row.area_px
        assert mask[round(row.y_px) - row.top_px, round(row.x_px) - row.left_px]
    picture = np.asarray(Image.open(tmp_path / "prompts.png")).astype(int)
    red_less_green = picture[..., 0] - picture[..., 1]
    assert (red_less_green < -100).any()  # kept
    assert (red_less_green > 100).any()  # refused


@pytest.mark.parametrize("status", ["rejected", "empty"])
def test_without_nuclei_the_table_is_valid_and_empty(tmp_path, status):
    shape = (1, 1) if status == "rejected" else SHAPE
    nothing = np.zeros(shape)
    write_field(tmp_path, nothing, nothing, status=status, diameter_px=None)
    done = prompts(tmp_path)
    assert done.returncode == 0, done.stderr
    table = read_table(tmp_path / "prompts.parquet")
    assert table.empty
    assert list(table.columns) == list(PROMPTS)
    assert Image.open(tmp_path / "prompts.png").size[0] >= 1


def test_every_engine_can_be_asked_for(tmp_path, field):
    write_field(tmp_path, field.image, field.labels > 0)
    found = []
    for engine in COARSE[1:]:
        done = prompts(tmp_path, "--coarse", engine)
        assert done.returncode == 0, done.stderr
        found.append(len(read_table(tmp_path / "prompts.parquet")))
    assert min(found) >= 20


def test_bounds_in_the_wrong_order_are_a_mistake(tmp_path, field):
    write_field(tmp_path, field.image, field.labels > 0)
    done = prompts(tmp_path, "--area", "3", "1")
    assert done.returncode == 2
    assert done.stderr.strip().splitlines()[-1].startswith("error: --area 3 1: ")
    assert not (tmp_path / "prompts.parquet").exists()
