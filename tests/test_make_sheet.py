"""A first sheet from a folder: valid, complete, and silent about nothing."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from cellsieve.images import open_field
from cellsieve.planning.sheet import read_sheet

SCRIPT = Path(__file__).parents[1] / "scripts" / "make_sheet.py"
RNG = np.random.default_rng(3)


def make_sheet(folder, cwd, code=0):
    """Run the script as a user does; return the sheet's rows and what was said."""
    done = subprocess.run(
        [sys.executable, SCRIPT, folder], cwd=cwd, capture_output=True, text=True, check=False
    )
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    said = [line for line in done.stderr.splitlines() if "images:" not in line]
    if code:
        assert done.stdout == ""
        return None, said
    (cwd / "fields.tsv").write_text(done.stdout)
    return read_sheet(cwd / "fields.tsv").rows, said


def grey(path, low=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(path, RNG.integers(low, 4000, (40, 50), dtype=np.uint16))


def test_slides_names_and_paths(tmp_path):
    grey(tmp_path / "run" / "S 1" / "Pos0.tif")
    grey(tmp_path / "run" / "S 2" / "Pos0.tif")
    grey(tmp_path / "run" / "S 2" / "-µ (1).ome.tif")
    grey(tmp_path / "run" / "S 2" / "1.tif")
    grey(tmp_path / "run" / "S 2" / ".hidden.tif")
    rows, said = make_sheet("run", tmp_path)
    assert {row["field"]: row["slide"] for row in rows} == {
        "S_1_Pos0": "S_1",
        "S_2_Pos0": "S_2",
        "S_2_1": "S_2",
        "S_2_1-2": "S_2",
    }
    assert all(Path(row["image"]).is_file() for row in rows)
    assert "slide: taken from the name of the subfolder" in said
    assert "# channels:  # as in 4 of 4 fields" in said
    assert "#   dapi: 0  # nothing says which channel is DAPI: check" in said


def test_files_of_one_field_are_joined(tmp_path):
    for token in ("gray", "_R", "_G"):
        grey(tmp_path / "run" / f"sample{token}.tif")
    for number in (1, 2):
        for token in ("DAPI", "FITC"):
            grey(tmp_path / "run" / f"x{number}_w_{token}.tif")
    grey(tmp_path / "run" / "alone_DAPI.tif")
    rows, said = make_sheet("run", tmp_path)
    assert [Path(row["image"]).name for row in rows] == [
        "alone_DAPI.tif",
        "sample{channel}.tif",
        "x1_w_{channel}.tif",
        "x2_w_{channel}.tif",
    ]
    with open_field(rows[1]["image"], {"dapi": "gray", "r": "_R"}) as field:
        assert field.channels == ("dapi", "r")
    assert any(line.startswith("joined: ") and "DAPI, FITC" in line for line in said)
    proposal = said[said.index("# channels:  # as in 2 of 4 fields") :]
    assert proposal[1:3] == ["#   dapi: DAPI", "#   fitc: FITC"]
    assert "sample has other channels: _G, _R, gray" in proposal


def test_files_that_do_not_fit_together_stay_apart(tmp_path):
    grey(tmp_path / "run" / "a_DAPI.tif")
    tifffile.imwrite(tmp_path / "run" / "a_FITC.tif", RNG.integers(0, 99, (9, 9), dtype=np.uint8))
    rows, said = make_sheet("run", tmp_path)
    assert [row["field"] for row in rows] == ["a_DAPI", "a_FITC"]
    assert any(line.startswith("not joined: ") and "one size" in line for line in said)


def test_stacks_and_pages_are_recognised(tmp_path):
    (tmp_path / "run").mkdir()
    stack = RNG.integers(0, 4000, (4, 3, 40, 50), dtype=np.uint16)
    channel = {"Name": ["Hoechst 33342", "488", "Cy 5"]}
    metadata = {"axes": "ZCYX", "Channel": channel, "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5}
    tifffile.imwrite(tmp_path / "run" / "z.ome.tif", stack, metadata=metadata)
    tifffile.imwrite(tmp_path / "run" / "pages.tif", stack[0], photometric="minisblack")
    metadata = {"axes": "TYX"}
    tifffile.imwrite(tmp_path / "run" / "time.tif", stack[0], imagej=True, metadata=metadata)
    rows, said = make_sheet("run", tmp_path)
    assert [row["field"] for row in rows] == ["pages", "z"]
    text = "\n".join(said)
    assert "1 of 2 fields: maximum over 4 z planes" in text
    assert "1 of 2 fields: its 3 planes have no stated meaning" in text
    assert "1 of 2 fields: pixel size 0.5 µm" in text
    assert "1 of 2 fields: no pixel size in the file" in text
    assert "left out: run/time.tif: time.tif holds 3 time points" in text
    assert "z has other channels: Hoechst 33342, 488, Cy 5" in text


def test_the_proposal_is_yaml_that_finds_the_channels(tmp_path):
    (tmp_path / "run").mkdir()
    names = ["Cy 5", "Hoechst: 33342", "488"]
    metadata = {"axes": "CYX", "Channel": {"Name": names}}
    pixels = RNG.integers(0, 4000, (3, 40, 50), dtype=np.uint16)
    path = tmp_path / "run" / "a.ome.tif"
    tifffile.imwrite(path, pixels, metadata=metadata, photometric="minisblack")
    _, said = make_sheet("run", tmp_path)
    import yaml

    text = "\n".join(line.removeprefix("# ") for line in said if line.startswith("#"))
    proposal = yaml.safe_load(text)["channels"]
    assert list(proposal) == ["dapi", "cy_5", "probe_488"]
    with open_field(path, proposal) as field:
        assert field.missing == ()
        np.testing.assert_array_equal(field.plane("dapi")[0:40, 0:50], pixels[1])


def test_what_is_left_out_is_said(tmp_path):
    run = tmp_path / "run"
    grey(run / "good.tif")
    grey(run / "b{r}ace.tif")
    (run / "notes.txt").write_text("hello")
    (run / "cut.tif").write_bytes((run / "good.tif").read_bytes()[:1000])
    labels = np.zeros((40, 50), np.uint16)
    labels[5:20, 5:20], labels[22:38, 10:40] = 1, 2
    tifffile.imwrite(run / "mask.tif", labels)
    Image.fromarray(np.zeros((40, 50), np.uint8)).save(run / "black.png")
    rows, said = make_sheet(run, tmp_path)
    assert [row["field"] for row in rows] == ["black", "good"]
    out = [line for line in said if line.startswith("left out: ")]
    assert len(out) == 4
    for name, words in [
        ("notes.txt", "format that can be read"),
        ("cut.tif", "cut short"),
        ("mask.tif", "label image"),
        ("b{r}ace.tif", "braces"),
    ]:
        assert any(name in line and words in line for line in out)


@pytest.mark.parametrize("content", [None, "", "text"])
def test_no_folder_and_no_image_are_one_line_and_exit_2(tmp_path, content):
    if content is not None:
        (tmp_path / "run").mkdir()
    if content:
        (tmp_path / "run" / "a.txt").write_text(content)
    _, said = make_sheet("run", tmp_path, code=2)
    (line,) = said
    assert line.startswith("error: ")
