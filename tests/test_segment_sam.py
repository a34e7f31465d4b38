"""The script by its command line, with a tiny SAM of random weights."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from synthetic import draw_field, write_stage
from test_meta_sam import tiny_sam
from test_prompted import candidates_of

import segment_sam as script
from cellsieve.errors import UserError
from cellsieve.pseudo_labelling.mask_table import mask_of
from cellsieve.pseudo_labelling.prompts import PROMPTS
from cellsieve.tables import read_table, write_table

SCRIPT = Path(__file__).parents[1] / "scripts" / "segment_sam.py"
SHAPE = (300, 340)


@pytest.fixture(scope="module")
def stage(tmp_path_factory):
    folder = tmp_path_factory.mktemp("field")
    drawn = draw_field(SHAPE, 40, 12, seed=1, background=0)
    write_stage(folder, np.maximum(drawn.image, 0), drawn.labels, diameter_px=40.0)
    table = candidates_of(drawn.labels)
    table["kept"] = table["candidate"] != 3
    write_table(folder / "prompts.parquet", table, PROMPTS)
    torch.save(tiny_sam().state_dict(), folder / "tiny.pth")
    return folder


def arguments(folder, out, *more):
    paths = ["--dapi", folder / "dapi.zarr.zip", "--qc", folder / "qc.json"]
    paths += ["--prompts", folder / "prompts.parquet", "--device", "cpu", "--threads", 1]
    paths += ["--masks", out / "masks.parquet", "--picture", out / "masks.png"]
    return [str(part) for part in (*paths, *more)]


def segment(folder, out, *more):
    command = [sys.executable, SCRIPT, *arguments(folder, out, *more)]
    return subprocess.run(command, check=False, capture_output=True, text=True)


def test_a_row_a_kept_candidate_and_the_same_bytes_again(stage, tmp_path):
    written = []
    done = segment(stage, tmp_path / "once", "--model", stage / "tiny.pth")
    assert done.returncode == 0, done.stderr
    script.main(arguments(stage, tmp_path / "again", "--model", stage / "tiny.pth"))
    for name in ("once", "again"):
        out = [tmp_path / name / file for file in ("masks.parquet", "masks.png")]
        written.append([file.read_bytes() for file in out])
    assert written[0] == written[1]
    masks = read_table(out[0])
    kept = read_table(stage / "prompts.parquet").query("kept")["candidate"]
    assert list(masks["candidate"]) == list(kept)
    assert [mask_of(row).sum() for row in masks.itertuples()] == list(masks["area_px"])
    assert (masks[["top_px", "left_px"]] >= 0).all(axis=None)
    assert (masks[["bottom_px", "right_px"]] <= SHAPE).all(axis=None)
    assert Image.open(out[1]).size == SHAPE[::-1]


@pytest.mark.parametrize("mode", ["prompted", "auto"])
def test_a_field_without_nuclei_has_empty_tables(tmp_path, stage, mode):
    write_stage(tmp_path, np.zeros((1, 1)), np.zeros((1, 1), int), status="rejected",
                diameter_px=None, nuclear_intensity=None)  # fmt: skip
    write_table(
        tmp_path / "prompts.parquet", read_table(stage / "prompts.parquet").head(0), PROMPTS
    )
    script.main(arguments(tmp_path, tmp_path, "--model", stage / "tiny.pth", "--mode", mode))
    assert len(read_table(tmp_path / "masks.parquet")) == 0
    assert Image.open(tmp_path / "masks.png").size == (1, 1)


def test_kinds_of_prompts_reach_the_model(stage, tmp_path):
    for kinds in ("point", "point,neighbours"):
        more = ["--model", stage / "tiny.pth", "--kinds", kinds]
        script.main(arguments(stage, tmp_path / kinds, *more))
    first, second = (
        read_table(tmp_path / kinds / "masks.parquet") for kinds in ("point", "point,neighbours")
    )
    assert not np.allclose(first["predicted_iou"], second["predicted_iou"])


def test_the_automatic_mode_needs_no_prompts(stage, tmp_path):
    words = arguments(stage, tmp_path, "--model", stage / "tiny.pth", "--mode", "auto")
    at = words.index("--prompts")
    script.main(words[:at] + words[at + 2 :])
    assert {"candidate", "mask"} <= set(read_table(tmp_path / "masks.parquet").columns)
    with pytest.raises(UserError, match="--prompts is needed"):
        script.main(words[:at] + words[at + 2 : -2])


@pytest.mark.parametrize(
    ("more", "complaint"),
    [
        (["--model", "sam_vit_b", "--weights", "/nowhere"], "there is no file /nowhere/sam_vit_b"),
        (["--model", "huge"], "neither a file nor one of sam_vit_b"),
        (["--model", SCRIPT], "is truncated, or no file of weights"),
        (["--kinds", "box,circle"], "--kinds: no circle"),
        (["--kinds", "neighbours"], "says only what is outside"),
    ],
)
def test_a_mistake_is_one_line(stage, tmp_path, more, complaint):
    done = segment(stage, tmp_path, *more)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert complaint in done.stderr.strip().splitlines()[-1]
    assert not (tmp_path / "masks.parquet").exists()
