"""Memory is bounded by the tile: peak of each stage on large fields (run with -m research)."""

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tifffile
from synthetic import draw_field, write_manifest

from cellsieve.planning.plan import SHIPPED
from cellsieve.tables import read_table

SCRIPTS = Path(__file__).parents[1] / "scripts"
GIB = 2**20  # in the KiB that Linux counts
FILES = {
    "dapi": "dapi.zarr.zip",
    "qc": "qc.json",
    "nuclei": "nuclei.tif",
    "measurements": "measurements.parquet",
}


def write_large(path, shape, diameter):
    """Repeat a drawn field until ``shape`` is filled; read and written strip by strip."""
    block = draw_field((1024, 1024), diameter, int(0.15 * (1024 / diameter) ** 2), touching=0.4)
    pixels = np.rint(block.image).astype(np.uint16)
    rows = np.tile(pixels, (1, -(-shape[1] // 1024)))[:, : shape[1]]
    strips = (np.ascontiguousarray(rows[y % 1024][np.newaxis]) for y in range(shape[0]))
    metadata = {"axes": "YX", "PhysicalSizeX": 0.3, "PhysicalSizeY": 0.3}
    tifffile.imwrite(
        path, strips, shape=shape, dtype=np.uint16, rowsperstrip=1, ome=True, metadata=metadata
    )


def peak(script, **paths):
    """Run a script; return the most memory it held, in KiB, and the seconds it took."""
    command = [sys.executable, SCRIPTS / f"{script}.py"]
    for name, value in paths.items():
        command += [f"--{name.replace('_', '-')}", value]
    start = time.monotonic()
    child = subprocess.Popen([*map(str, command)])
    _, status, usage = os.wait4(child.pid, 0)
    assert status == 0, script
    return usage.ru_maxrss, time.monotonic() - start


@pytest.mark.research
@pytest.mark.parametrize("diameter", [32, 320])
@pytest.mark.parametrize(("shape", "limit"), [((4128, 3600), 2), ((20_000, 20_000), 4)])
def test_every_stage_stays_within_its_memory(tmp_path, shape, limit, diameter):
    write_large(tmp_path / "f.ome.tif", shape, diameter)
    field = {name: tmp_path / file for name, file in FILES.items()}
    image = {"image": tmp_path / "f.ome.tif", "channel": "dapi=0"}
    reads = {"dapi": field["dapi"], "qc": field["qc"]}
    used = {"preprocess": peak("preprocess", **image, **reads)}
    reads["nuclei"] = field["nuclei"]
    shipped = SHIPPED / "votes.safetensors"
    used["segment"] = peak("segment", **reads, overlay=tmp_path / "o.png", weights=shipped)
    used["measure"] = peak("measure", **reads, measurements=field["measurements"])
    reads["measurements"] = field["measurements"]
    model = tmp_path / "model"
    model.mkdir()
    write_manifest(tmp_path / "m.tsv", [{"field": "f", "slide": "s", **field}])
    outputs = {"bank": "bank.parquet", "calibration": "calibration.parquet"}
    outputs |= {"thumbnails": "thumbnails.zarr.zip", "signs": "signs.json", "record": "record.json"}
    outputs = {name: model / file for name, file in outputs.items()}
    used["build_reference"] = peak("build_reference", fields=tmp_path / "m.tsv", **outputs)
    outputs = {"anomaly": tmp_path / "a.parquet", "anomaly_map": tmp_path / "a.zarr.zip"}
    used["score_anomaly"] = peak("score_anomaly", field="f", reference=model, **reads, **outputs)
    count = len(read_table(field["measurements"]))
    print(f"\n{shape[0]}×{shape[1]}, {count} nuclei of {diameter} px")
    for stage, (memory, seconds) in used.items():
        print(f"{stage:16} {memory / GIB:.2f} GiB {seconds:.0f} s")
    assert max(memory for memory, _ in used.values()) < limit * GIB
