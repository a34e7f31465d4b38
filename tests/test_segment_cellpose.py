"""The script by its command line, with a checkpoint of Cellpose whose weights are set by hand."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from synthetic import PEAK, write_stage
from test_prompted import candidates_of

import segment_cellpose as script
from cellsieve.errors import UserError
from cellsieve.pseudo_labelling.cellpose_model import load_cellpose, outline_field
from cellsieve.pseudo_labelling.mask_table import draw, mask_of
from cellsieve.pseudo_labelling.prompted import SAM_MASKS
from cellsieve.pseudo_labelling.prompts import PROMPTS
from cellsieve.pseudo_labelling.pseudo_labels import from_sam
from cellsieve.pseudo_labelling.run_length import encode
from cellsieve.segmenters import save_segmenter
from cellsieve.tables import read_table, write_table

SCRIPT = Path(__file__).parents[1] / "scripts" / "segment_cellpose.py"
DIAMETER = 20
CENTRES = np.array([[40, 50], [40, 75], [120, 60], [60, 190], [200, 30], [190, 230], [230, 130]])


def checkpoint():
    """What is brighter than 0.5 is nucleus; the flow is the slope of brightness.

    Right for cones of radius 30 px and height 1, whose slope is the same everywhere.
    """
    from cellpose.resnet_torch import CPnet

    state = CPnet([2, 32, 64, 128, 256], 3, 3).state_dict()
    for name, value in state.items():
        normalising = value.ndim == 1 and f"{name.rpartition('.')[0]}.running_var" in state
        kept = normalising and name.endswith(("weight", "running_var"))
        if not name.startswith("diam_"):
            value.fill_(1 if kept else 0)
    state["downsample.down.res_down_0.proj.1.weight"][0, 0] = 1  # brightness as it is
    state["downsample.down.res_down_3.proj.1.bias"].fill_(1)  # a style needs some length
    seen = state["upsample.up.res_up_0.conv.conv_1.conv.2.weight"]
    output = state["output.2.weight"]
    seen[0, 0, 1, 1] = 1
    for flow, (first, last) in enumerate((((0, 1), (2, 1)), ((1, 0), (1, 2)))):
        for sign in (1, -1):  # upward and downward, since what is negative gets lost
            channel = 1 + 2 * flow + (sign < 0)
            seen[channel, 0][last], seen[channel, 0][first] = sign, -sign
            output[flow, channel] = sign * 5 * 30 / 2
    output[2, 0], state["output.2.bias"][2] = 40, -20
    return state


def cones(shape, centres):
    """Brightness of cones with a diameter of 20 px at half height, and their labels."""
    y, x = np.indices(shape)
    heights = [1 - np.hypot(y + 0.5 - cy, x + 0.5 - cx) / DIAMETER for cy, cx in centres]
    highest = np.max(heights, axis=0)
    return PEAK * np.maximum(highest, 0), np.where(highest > 0.5, np.argmax(heights, 0) + 1, 0)


@pytest.fixture(scope="module")
def stage(tmp_path_factory):
    folder = tmp_path_factory.mktemp("field")
    image, labels = cones((256, 260), CENTRES)
    write_stage(folder, image, labels, diameter_px=float(DIAMETER))
    table = candidates_of(labels)
    # one nucleus more than once, and one where there is none
    dark = table.loc[0].copy()
    dark[["top_px", "left_px", "bottom_px", "right_px", "y_px", "x_px"]] = 150, 5, 160, 15, 155, 10
    dark["mask"] = encode(np.ones((10, 10), bool))
    table.loc[len(table)] = table.loc[4]
    table.loc[len(table)] = dark
    table["candidate"] = range(1, len(table) + 1)
    table["kept"] = table["candidate"] != 3
    write_table(folder / "prompts.parquet", table.astype({"mask": object}), PROMPTS)
    torch.save(checkpoint(), folder / "byhand")
    return folder


def arguments(folder, out, *more):
    paths = ["--dapi", folder / "dapi.zarr.zip", "--qc", folder / "qc.json"]
    paths += ["--prompts", folder / "prompts.parquet", "--device", "cpu", "--threads", 1]
    paths += ["--masks", out / "masks.parquet", "--picture", out / "masks.png"]
    return [str(part) for part in (*paths, *more)]


def segment(folder, out, *more):
    command = [sys.executable, SCRIPT, *arguments(folder, out, *more)]
    return subprocess.run(command, check=False, capture_output=True, text=True)


def iou(first, second):
    return np.count_nonzero(first & second) / np.count_nonzero(first | second)


def test_each_candidate_gets_its_nucleus_and_the_same_bytes_again(stage, tmp_path):
    done = segment(stage, tmp_path / "once", "--model", stage / "byhand")
    assert done.returncode == 0, done.stderr
    assert "8 masks, 1 empty, 1 duplicates" in done.stderr
    script.main(arguments(stage, tmp_path / "again", "--model", stage / "byhand"))
    for file in ("masks.parquet", "masks.png"):
        assert (tmp_path / "once" / file).read_bytes() == (tmp_path / "again" / file).read_bytes()
    masks = read_table(tmp_path / "once" / "masks.parquet").set_index("candidate")
    assert list(masks.index) == [1, 2, 4, 5, 6, 7, 8, 9]
    _, truth = cones((256, 260), CENTRES)
    everywhere = tuple(slice(0, n) for n in truth.shape)
    for candidate in (1, 2, 4, 5, 6, 7):
        seen = draw(masks.loc[[candidate]], np.ones(1, int), everywhere) > 0
        assert iou(seen, truth == candidate) > 0.9
    assert [mask_of(row).sum() for row in masks.itertuples()] == list(masks["area_px"])
    assert masks.loc[:8, "predicted_iou"].between(0.8, 1).all()
    assert masks["stability"].isna().all()
    assert masks["duplicate_of"].dropna().to_dict() == {8: 5}
    assert masks.loc[9, "area_px"] == 0
    assert tuple(masks.loc[9, ["top_px", "left_px"]]) == (150, 5)
    assert Image.open(tmp_path / "once" / "masks.png").size == (260, 256)


def test_the_filter_takes_them(stage, tmp_path):
    script.main(arguments(stage, tmp_path, "--model", stage / "byhand"))
    prompts, masks = (
        read_table(path) for path in (stage / "prompts.parquet", tmp_path / "masks.parquet")
    )
    assert list(masks.columns) == list(SAM_MASKS)
    found = from_sam(prompts, masks)
    assert found["agreement"][[1, 2, 4, 5, 6, 7]].min() > 0.9
    assert found["refused"][9] == "the model gives no mask"


def test_the_nuclei_do_not_depend_on_the_tiles(stage):
    """Nor on where in a tile or how far from its edge a candidate lies."""
    image, labels = cones((256, 260), CENTRES)
    model = load_cellpose(stage / "byhand", "cpu")
    model.halo = 64
    tables = []
    for side, offset in ((768, (0, 0)), (96, (0, 0)), (96, (23, 41))):
        model.side = side
        tables.append(outline_field(image, candidates_of(labels), model, DIAMETER, PEAK, offset))
    for table in tables[1:]:
        assert (table["area_px"] > 0).all()
        for one, other in zip(tables[0].itertuples(), table.itertuples(), strict=True):
            assert tuple(one[2:6]) == tuple(other[2:6])
            assert np.array_equal(mask_of(one), mask_of(other))


def test_a_field_without_nuclei_has_an_empty_table(tmp_path, stage):
    write_stage(tmp_path, np.zeros((1, 1)), np.zeros((1, 1), int), status="rejected",
                diameter_px=None, nuclear_intensity=None)  # fmt: skip
    write_table(
        tmp_path / "prompts.parquet", read_table(stage / "prompts.parquet").head(0), PROMPTS
    )
    script.main(arguments(tmp_path, tmp_path, "--model", stage / "byhand"))
    assert len(read_table(tmp_path / "masks.parquet")) == 0
    assert Image.open(tmp_path / "masks.png").size == (1, 1)


def test_the_diameter_is_the_checkpoints(tmp_path):
    state = checkpoint()
    state["diam_mean"].fill_(24)
    torch.save(state, tmp_path / "mine")
    assert load_cellpose(tmp_path / "mine", "cpu").diameter == 24
    # Cellpose 1, from which its model for nuclei is, did not write it down
    old = {name: v for name, v in state.items() if not name.startswith("diam_")}
    torch.save(old, tmp_path / "nucleitorch_0")
    assert load_cellpose(tmp_path / "nucleitorch_0", "cpu").diameter == 17
    notes = {"variant": "standard", "diameter": "28"}
    save_segmenter(tmp_path / "ours.safetensors", state, "cellpose", notes)
    assert load_cellpose(tmp_path / "ours.safetensors", "cpu").diameter == 28


def test_a_model_that_is_not_there_is_one_line(stage, tmp_path):
    done = segment(stage, tmp_path, "--model", "nuclei")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    last = done.stderr.strip().splitlines()[-1]
    assert "'nuclei': no such file; download https://www.cellpose.org/models/nuclei" in last
    assert not (tmp_path / "masks.parquet").exists()


def test_other_weights_are_refused(stage, tmp_path):
    torch.save({"W2": torch.zeros(3)}, tmp_path / "cpsam")
    for model, complaint in (
        (tmp_path / "cpsam", "cpsam: not a checkpoint of Cellpose 3: there is no downsample"),
        ("small", "not weights of a segmenter of cellsieve"),
        (SCRIPT, "is truncated, or no file of weights"),
    ):
        with pytest.raises(UserError, match=complaint):
            script.main(arguments(stage, tmp_path, "--model", model))
