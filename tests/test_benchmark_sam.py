"""The benchmark: its arithmetic, and one case by the command line."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from synthetic import draw_field, write_stage
from test_prompted import candidates_of

from cellsieve.benchmarks.sam_benchmark import whole_field
from cellsieve.pseudo_labelling.prompts import PROMPTS
from cellsieve.tables import write_table

SCRIPT = Path(__file__).parents[1] / "scripts" / "benchmark_sam.py"


def test_the_time_of_the_field_from_some_tiles():
    measured = {"tiles": 2, "prompts": 50, "tiles_of_field": 5, "prompts_of_field": 250}
    measured |= {"embed_s": 20.0, "run_s": 30.0, "ended": 137.0}
    figures = whole_field(measured, started=100.0)
    assert figures["embed_s_per_tile"] == pytest.approx(10)
    assert figures["answer_s_per_prompt"] == pytest.approx(0.2)
    # 37 s were measured; 3 tiles and 200 prompts are missing
    assert figures["field_wall_s"] == pytest.approx(37 + 30 + 40)


def test_a_case_by_its_command_line(tmp_path):
    drawn = draw_field((200, 900), 30, 20, background=0)
    write_stage(tmp_path, np.maximum(drawn.image, 0), drawn.labels, diameter_px=30.0)
    write_table(tmp_path / "prompts.parquet", candidates_of(drawn.labels), PROMPTS)
    command = [sys.executable, SCRIPT, "--cases", "small", "--threads", "1"]
    command += ["--dapi", tmp_path / "dapi.zarr.zip", "--qc", tmp_path / "qc.json"]
    command += ["--prompts", tmp_path / "prompts.parquet"]
    command += ["--table", tmp_path / "out.csv"]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (row,) = pd.read_csv(tmp_path / "out.csv").to_dict("records")
    # 900 px at 32/30 are two tiles of 512
    assert (row["case"], row["tiles"], row["prompts"]) == ("small", 2, 20)
    assert (row["tiles_of_field"], row["prompts_of_field"]) == (2, 20)
    assert row["field_wall_s"] == row["wall_s"] > 0
    assert 50 < row["peak_mb"] < 20_000
