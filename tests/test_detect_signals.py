"""The script by its command line, on fields that are drawn here."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from cellsieve.stores import write_labels
from cellsieve.tables import SIGNALS, read_notes, read_table

SCRIPT = Path(__file__).parents[1] / "scripts" / "detect_signals.py"
ROWS, SIDE = 4, 60


@pytest.fixture
def field(tmp_path):
    """Sixteen disc-shaped nuclei; Aqua has two signals in each, Gold none."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[: ROWS * SIDE, : ROWS * SIDE]
    labels = np.zeros(y.shape, np.uint32)
    image = rng.normal(200, 5, (3, *y.shape))
    truth = []
    for label in range(1, ROWS**2 + 1):
        cy, cx = ((np.array(divmod(label - 1, ROWS)) + 0.5) * SIDE).astype(int)
        labels[(y - cy) ** 2 + (x - cx) ** 2 < 22**2] = label
        for dy, dx in ((-8.0, 5.0), (9.0, -3.0)):
            truth.append((label, cy + dy, cx + dx))
            image[1] += 150 * np.exp(-((y - cy - dy) ** 2 + (x - cx - dx) ** 2) / 4)
    image[0] += 1000 * (labels > 0)
    tifffile.imwrite(
        tmp_path / "f.ome.tif",
        image.astype(np.uint16),
        metadata={"axes": "CYX", "Channel": {"Name": ["DAPI", "Aqua", "Gold"]}},
    )
    write_labels(tmp_path / "nuclei.tif", labels)
    write_qc(tmp_path, "ok")
    return tmp_path, truth


def write_qc(folder, status, diameter=44.0, channels=("dapi", "aqua", "gold")):
    qc = {"status": status, "reasons": [], "diameter_px": diameter, "channels": channels}
    (folder / "qc.json").write_text(json.dumps(qc))


def call(folder, *more, image="f.ome.tif"):
    command = [sys.executable, SCRIPT, "--image", folder / image, "--channel", "dapi=DAPI"]
    command += ["--channel", "aqua=Aqua", "--channel", "gold=Gold", "--qc", folder / "qc.json"]
    command += ["--nuclei", folder / "nuclei.tif", "--signals", folder / "s.parquet", *more]
    return subprocess.run([*map(str, command)], check=False, capture_output=True, text=True)


def test_two_signals_in_each_nucleus(field):
    folder, truth = field
    done = call(folder, "--picture", folder / "s.png")
    assert done.returncode == 0, done.stderr
    signals = read_table(folder / "s.parquet")
    assert dict(signals.dtypes.astype(str)) == SIGNALS
    strong = signals[(signals["probe"] == "aqua") & (signals["contrast"] > 10)]
    assert strong["cell"].value_counts().to_dict() == dict.fromkeys(range(1, ROWS**2 + 1), 2)
    for label, y, x in truth:
        own = strong[strong["cell"] == label]
        assert np.hypot(own["y_px"] - y, own["x_px"] - x).min() < 0.2
    gold = signals[signals["probe"] == "gold"]
    assert len(gold)
    assert gold["contrast"].max() < 7
    assert Image.open(folder / "s.png").size[0] > 300


def test_same_input_same_bytes(field):
    folder, _ = field
    call(folder, "--picture", folder / "s.png")
    first = [(folder / n).read_bytes() for n in ("s.parquet", "s.png")]
    call(folder, "--picture", folder / "s.png")
    assert [(folder / n).read_bytes() for n in ("s.parquet", "s.png")] == first


def test_missing_channel_is_noted(field):
    folder, _ = field
    done = call(folder, "--channel", "red=Red")
    assert done.returncode == 0, done.stderr
    assert "red: the field has no such channel" in read_notes(folder / "s.parquet")
    assert set(read_table(folder / "s.parquet")["probe"]) == {"aqua", "gold"}


def damage_first_tile(path, page):
    """Overwrite a compressed tile of one channel; the rest of the file stays whole."""
    with tifffile.TiffFile(path) as tif:
        start, count = (v[0] for v in (tif.pages[page].dataoffsets, tif.pages[page].databytecounts))
    with path.open("r+b") as file:
        file.seek(start)
        file.write(b"\xff" * count)


def test_probe_that_cannot_be_read_costs_only_itself(field):
    folder, _ = field
    path = folder / "f.ome.tif"
    whole = tifffile.imread(path)
    metadata = {"axes": "CYX", "Channel": {"Name": ["DAPI", "Gold", "Aqua"]}}
    tifffile.imwrite(path, whole[[0, 2, 1]], metadata=metadata, tile=(128, 128), compression=8)
    damage_first_tile(path, page=1)
    write_qc(folder, "flagged", channels=["dapi", "aqua"])
    done = call(folder, "--picture", folder / "s.png")
    assert done.returncode == 0, done.stderr
    assert "gold: the field has no such channel" in read_notes(folder / "s.parquet")
    signals = read_table(folder / "s.parquet")
    assert set(signals["probe"]) == {"aqua"}
    assert (signals["contrast"] > 10).sum() == 2 * ROWS**2


@pytest.mark.parametrize(
    ("status", "image"), [("rejected", "not there.tif"), ("empty", "f.ome.tif")]
)
def test_field_without_nuclei_gives_empty_outputs(field, status, image):
    folder, _ = field
    write_labels(folder / "nuclei.tif", np.zeros((1, 1) if status == "rejected" else (240, 240)))
    write_qc(folder, status, None)
    done = call(folder, "--picture", folder / "s.png", image=image)
    assert done.returncode == 0, done.stderr
    signals = read_table(folder / "s.parquet")
    assert signals.empty
    assert dict(signals.dtypes.astype(str)) == SIGNALS
    assert "no signals were looked for" in read_notes(folder / "s.parquet")[0]
    assert Image.open(folder / "s.png").size[0]


def test_no_probes_at_all(field):
    folder, _ = field
    command = [sys.executable, SCRIPT, "--image", folder / "f.ome.tif", "--channel", "dapi=DAPI"]
    command += ["--qc", folder / "qc.json", "--nuclei", folder / "nuclei.tif"]
    command += ["--signals", folder / "s.parquet", "--picture", folder / "s.png"]
    assert subprocess.run([*map(str, command)], check=False).returncode == 0
    assert read_table(folder / "s.parquet").empty


def test_missing_image_is_one_line(field):
    folder, _ = field
    done = call(folder, image="not there.tif")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith("error: No such file")
    assert not (folder / "s.parquet").exists()
