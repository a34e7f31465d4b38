"""The speed comparison: its arithmetic, its stand-ins, and all competitors by the command line."""

import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from synthetic import draw_field, write_stage

from cellsieve.benchmarks.segmenter_benchmark import (
    CASES,
    Run,
    as_boxes,
    compare,
    random_maskrcnn,
    share_of,
    summarise,
    typical,
)
from cellsieve.errors import UserError
from cellsieve.planning.plan import SHIPPED

SCRIPT = Path(__file__).parents[1] / "scripts" / "benchmark_segmenter.py"
COLUMNS = ["name", "what", "seconds", "network_seconds", "measured_seconds"]
COLUMNS += ["seconds_measured_on", "start_seconds", "nuclei", "peak_rss_mb", "ratio_to_segment"]


@pytest.fixture(scope="module")
def drawn():
    return draw_field((96, 1300), 30, 50, background=0)


@pytest.fixture(scope="module")
def done(drawn, tmp_path_factory):
    folder = tmp_path_factory.mktemp("field")
    write_stage(folder, np.maximum(drawn.image, 0), drawn.labels, diameter_px=32.0)
    command = [sys.executable, SCRIPT, "--threads", "1", "--tiles", "1"]
    command += ["--weights", SHIPPED / "votes.safetensors", "--table", folder / "out.csv"]
    command += ["--dapi", folder / "dapi.zarr.zip", "--qc", folder / "qc.json"]
    process = subprocess.run(command, check=False, capture_output=True, text=True)
    assert process.returncode == 0, process.stderr
    return process, pd.read_csv(folder / "out.csv")


def test_the_fastest_run_counts_and_time_is_divided_by_the_share():
    runs = [
        Run("segment", 5.0, 900.0, 100),
        Run("segment", 4.0, 950.0, 100),
        Run("cellpose_network", 40.0, 1500.0, None, 12.0, 36.0),
        Run("cellpose", 44.0, 1600.0, 99, 12.0, 36.0),
        Run("maskrcnn", 6.0, 2000.0, 20, 9.0, 5.0, 0.25),
        Run("maskrcnn_bfloat16", 3.0, 1500.0, 20, 9.0, 2.0, 0.25),
    ]
    rows = {row["name"]: row for row in summarise(runs)}
    assert list(rows) == list(CASES)
    assert [row["seconds"] for row in rows.values()] == [4, 40, 44, 24, 12]
    assert [row["ratio_to_segment"] for row in rows.values()] == [1, 10, 11, 6, 3]
    assert rows["segment"]["peak_rss_mb"] == 950
    assert math.isnan(rows["segment"]["network_seconds"])
    mask = rows["maskrcnn"]
    assert (mask["network_seconds"], mask["measured_seconds"], mask["start_seconds"]) == (20, 6, 9)
    assert (mask["seconds_measured_on"], mask["nuclei"]) == (0.25, 20)


def test_typical_tiles():
    # the median is 31; 28 and 40 are next
    assert typical([0, 28, 31, 100, 40], 2) == [1, 2]
    assert typical([0, 28, 31, 100, 30], 3) == [1, 2, 4]
    assert typical([3, 4], 9) == [0, 1]


def test_the_share_of_tiles_is_of_pixels():
    regions = [
        (slice(0, 10), slice(0, 30)),  # 300
        (slice(0, 10), slice(20, 40)),  # 200
        (slice(5, 15), slice(0, 50)),  # 500
    ]
    assert share_of(regions, [1]) == pytest.approx(0.2)
    assert share_of(regions, [0, 2]) == pytest.approx(0.8)
    same = [(slice(0, 7), slice(n, n + 9)) for n in range(5)]
    assert share_of(same, [1, 3]) == pytest.approx(2 / 5)


def test_boxes_reach_from_edge_to_edge_of_their_pixels():
    # the region begins at row 100 and column 200 of the field, the picture at 288 and 592 of
    # three times the field
    rows = (np.arange(100, 120) + 0.5) * 3 - 288
    cols = (np.arange(200, 240) + 0.5) * 3 - 592
    found = [(slice(0, 4), slice(10, 11)), (slice(19, 20), slice(0, 40))]
    assert as_boxes(found, rows, cols, 3.0).tolist() == [[38, 12, 41, 24], [8, 69, 128, 72]]
    assert as_boxes([], rows, cols, 3.0).shape == (0, 4)


def test_the_random_network_takes_every_given_box_for_a_nucleus():
    import torch

    torch.set_num_threads(1)
    segmenter, proposals = random_maskrcnn()
    # also where boxes overlap
    corners = np.random.default_rng(0).uniform(0, 60, (12, 2))
    proposals.boxes = torch.tensor(np.hstack([corners, corners + 30]), dtype=torch.float32)
    picture = np.random.default_rng(1).uniform(0, 1, (96, 96)).astype(np.float32)
    boxes, scores, masks = segmenter.detect(picture)
    order = np.lexsort(boxes.T)
    given = proposals.boxes.numpy()
    assert boxes[order] == pytest.approx(given[np.lexsort(given.T)], abs=1e-3)
    assert np.isfinite(scores).all()
    assert masks.shape == (12, 28, 28)
    assert np.isfinite(masks).all()


def test_all_competitors_by_the_command_line(done):
    process, table = done
    assert list(table) == COLUMNS
    assert list(table["name"]) == list(CASES)
    assert (table.drop(index=0)[["seconds", "network_seconds", "start_seconds"]] > 0).all(axis=None)
    assert (table["network_seconds"][1:] <= table["seconds"][1:]).all()
    assert table["peak_rss_mb"].between(50, 20_000).all()
    assert "ideal flows" in table["what"][2]
    printed = pd.DataFrame(json.loads(process.stdout))
    pd.testing.assert_frame_equal(printed, table, check_dtype=False, rtol=1e-3)


def test_the_whole_field_follows_from_what_was_measured(done):
    table = done[1]
    share = table["seconds_measured_on"]
    # 1300 px are tiles of 1024 and 276 px; the first reads 1280, the other 532 with halos of 256
    assert list(share) == pytest.approx([1, 1, 1, *[1280 / (1280 + 532)] * 2], rel=1e-3)
    assert list(table["seconds"]) == pytest.approx(
        list(table["measured_seconds"] / share), rel=2e-3
    )
    ratios = table["seconds"] / table["seconds"][0]
    assert list(table["ratio_to_segment"]) == pytest.approx(list(ratios), rel=2e-3)


def test_competitors_work_on_as_many_nuclei(done, drawn):
    nuclei = done[1].set_index("name")["nuclei"]
    assert nuclei["segment"] == pytest.approx(drawn.labels.max(), abs=2)
    assert np.isnan(nuclei["cellpose_network"])
    # the dynamics find what the flows show
    assert nuclei["cellpose"] == pytest.approx(nuclei["segment"], abs=2)
    # a nucleus at the edge of the first tile may just be in or out
    reached = len(np.unique(drawn.labels[:, :1280])) - 1
    assert nuclei["maskrcnn"] == pytest.approx(reached, abs=3)


@pytest.mark.parametrize("bfloat16", [False, True])
def test_the_precision_reaches_the_network(bfloat16):
    import torch

    torch.set_num_threads(1)
    segmenter, _ = random_maskrcnn(bfloat16)
    seen = []
    convolution = next(m for m in segmenter.network.modules() if isinstance(m, torch.nn.Conv2d))
    convolution.register_forward_hook(lambda module, given, result: seen.append(result.dtype))
    segmenter.detect(np.zeros((64, 64), np.float32))
    assert seen == [torch.bfloat16 if bfloat16 else torch.float32]


def test_a_field_without_nuclei_cannot_be_timed(tmp_path):
    qc = tmp_path / "qc.json"
    qc.write_text(json.dumps({"diameter_px": None}))
    with pytest.raises(UserError, match="without nuclei"):
        compare(tmp_path / "dapi.zarr.zip", qc, tmp_path / "weights")


def test_a_fault_of_segment_is_reported(drawn, tmp_path, capfd):
    write_stage(tmp_path, np.maximum(drawn.image, 0), drawn.labels)
    weights = tmp_path / "weights.safetensors"
    weights.write_bytes(b"nothing")
    with pytest.raises(UserError, match=r"segment\.py ended with 2"):
        compare(tmp_path / "dapi.zarr.zip", tmp_path / "qc.json", weights)
    assert "not a safetensors file" in capfd.readouterr().err
