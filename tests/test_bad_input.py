"""Images, sheets and permissions that are wrong: one line each, never another field's loss."""

import json
import re

import numpy as np
import pandas as pd
import pytest
import tifffile
import zarr
from checkout import NORMAL, PATIENT, SHEET, draw, make_checkout, wait_for, write_field
from PIL import Image

from cellsieve.stores import open_labels, open_zip
from cellsieve.tables import ANOMALY, MEASUREMENTS, SIGNALS, read_table

EVIL = "a b'c\"d;$(touch pwned)`touch pwned`&\\ü 核"
CHANNELS = {"dapi": "DAPI", "aqua": "Aqua", "gold": EVIL}
RESULTS = "my $(touch pwned) 'results'"
SCRIPT = "<script>alert(1)</script>"
TABLES = {"measurements": MEASUREMENTS, "signals": SIGNALS, "anomaly": ANOMALY}
OUTPUTS = [
    *("dapi.zarr.zip", "qc.json", "nuclei.tif", "overlay.png", "signals.png"),
    *("anomaly_map.zarr.zip", "cells.csv", "cells.geojson", "field.ome.zarr"),
    *(f"{name}.parquet" for name in TABLES),
]

FIELDS = {  # field: its status, and what its reason says
    "good": ("ok", ""),
    "evil": ("ok", ""),
    "truncated": ("rejected", "cut short"),
    "png": ("ok", ""),
    "no_dapi": ("rejected", "no channel 'DAPI'"),
    "no_probe": ("flagged", "no channel for gold"),
    "nan": ("rejected", "NaN"),
    "black": ("rejected", "one flat value, 0,"),
    "saturated": ("rejected", "one flat value, 65535,"),
    "flat": ("rejected", "one flat value, 1000,"),
    "noise": ("empty", "nothing looks like a nucleus"),
    "one": ("ok", ""),
    "giant": ("flagged", "no channel for aqua"),
    "pixel": ("rejected", "one flat value"),
}


WHOLE = ("good", "evil", "png", "no_probe")
WITHOUT_NUCLEI = [name for name, (status, _) in FIELDS.items() if status in ("rejected", "empty")]


def draw_all(folder):
    """Write the image of every field of FIELDS."""
    good = draw(0)
    with_nan = good.astype(np.float32)
    with_nan[0, 100, 100] = np.nan
    for name, image in {
        "good": good,
        "evil": draw(1),
        "truncated": good,
        "nan": with_nan,
        "black": np.zeros_like(good),
        "saturated": np.full_like(good, 65535),
        "flat": np.full_like(good, 1000),
        "noise": np.random.default_rng(0).poisson(200, good.shape).astype(np.uint16),
        "one": draw(2, count=1),
    }.items():
        write_field(folder / f"{name}.ome.tif", image, CHANNELS.values())
    whole = (folder / "truncated.ome.tif").read_bytes()
    (folder / "truncated.ome.tif").write_bytes(whole[: len(whole) // 2])
    (folder / EVIL).mkdir()
    (folder / "evil.ome.tif").rename(folder / EVIL / "evil.ome.tif")
    write_field(folder / "no_dapi.ome.tif", good[1:], ["Aqua", EVIL])
    write_field(folder / "no_probe.ome.tif", good[:2], ["DAPI", "Aqua"])
    write_field(folder / "giant.ome.tif", giant()[np.newaxis], ["DAPI"])
    for channel, plane in zip(CHANNELS.values(), good, strict=True):
        Image.fromarray(plane).save(folder / f"png_{channel}.tif", format="png")
        tifffile.imwrite(folder / f"pixel_{channel}.tif", plane[:1, :1])


def giant(side=1600, radius=520):
    """Draw a nucleus wider than a tile of 1024 px."""
    y, x = np.mgrid[:side, :side] - side / 2
    counts = 200 + 1000 * (y**2 + x**2 < radius**2)
    return np.random.default_rng(0).poisson(counts).astype(np.uint16)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Run all fields and three that lack a file, of which one goes meanwhile; then without these.

    Returns the checkout, with what the two runs printed.
    """
    made = make_checkout(tmp_path_factory.mktemp("bad") / "check out")
    draw_all(made.folder / "in")
    for name in ("gone", "given"):
        write_field(made.folder / f"in/{name}.ome.tif", draw(3), CHANNELS.values())
    rows = {
        name: {"field": name, "image": f"{name}.ome.tif", "slide": "S", "x_mine": SCRIPT}
        for name in (*FIELDS, "missing", "gone", "given")
    }
    rows["good"]["reference"] = "yes"
    rows["evil"] |= {"image": f"../in/{EVIL}/evil.ome.tif", "note": EVIL}
    rows["given"]["nuclei"] = "nowhere.tif"
    for name in ("png", "pixel"):
        rows[name]["image"] = f"{name}_{{channel}}.tif"
    lost = [rows.pop(name) | {"slide": name} for name in ("missing", "gone", "given")]
    made.configure(results=json.dumps(RESULTS), channels=json.dumps(CHANNELS))
    made.results = made.folder / RESULTS
    made.write_sheet(*lost, *rows.values())
    with (made.folder / "first.log").open("w+") as log:
        first = made.start("--cores", 2, "--latency-wait", 1, log=log)
        wait_for((made.results / "fields/gone/qc.json").exists, first)
        (made.folder / "in/gone.ome.tif").unlink()
        made.first_code = first.wait()
    made.first = (made.folder / "first.log").read_text(encoding="utf-8")
    made.exported = sorted(path.parent.name for path in made.results.glob("fields/*/cells.csv"))
    made.write_sheet(*rows.values())
    made.second = made.run("--cores", 2, check=False)
    return made


def test_a_missing_file_fails_its_own_jobs_alone(run):
    assert run.first_code != 0
    for job, file in (
        ("preprocess", "in/missing.ome.tif"),
        ("detect_signals", "in/gone.ome.tif"),
        ("segment", "in/nowhere.tif"),
    ):
        assert re.search(rf"^error: No such file or directory: .*{file}$", run.first, re.MULTILINE)
        assert run.first.count(f"Error in rule {job}:") == 2, "failed, and tried again"
    assert run.exported == sorted(FIELDS)


def test_the_others_are_done_without_it(run):
    assert run.second.returncode == 0, run.second.stdout
    assert "rule preprocess:" not in run.second.stdout
    assert (run.results / "report/index.html").stat().st_size > 10_000


def test_nothing_is_executed_and_nothing_leaves_the_folder(run):
    assert not [path for path in run.folder.parent.rglob("*") if path.name == "pwned"]
    assert {path.name for path in run.folder.parent.iterdir()} == {run.folder.name}


def test_nothing_reaches_the_report_unescaped(run):
    page = (run.results / "report/index.html").read_text(encoding="utf-8")
    assert SCRIPT not in page
    assert pd.read_csv(run.results / "fields.csv")["x_mine"].eq(SCRIPT).all()


def test_no_traceback(run):
    logs = [run.first, run.second.stdout]
    logs += [path.read_text(encoding="utf-8") for path in run.results.glob("logs/**/*.log")]
    assert len(logs) > 6 * len(FIELDS)
    assert not [log for log in logs if "Traceback" in log]


@pytest.mark.parametrize("field", FIELDS)
def test_status_and_reason(run, field):
    fields = pd.read_csv(run.results / "fields.csv", keep_default_na=False).set_index("field")
    status, reason = FIELDS[field]
    assert fields.loc[field, "status"] == status
    assert reason in fields.loc[field, "reason"]
    assert bool(fields.loc[field, "reason"]) == (status != "ok")


def read_all(folder):
    """Open every output of a field with the reader that a user has; return nuclei counted."""
    assert sorted(path.name for path in folder.iterdir()) == sorted(OUTPUTS)
    cells = pd.read_csv(folder / "cells.csv")
    features = json.loads((folder / "cells.geojson").read_text(encoding="utf-8"))["features"]
    for name, columns in TABLES.items():
        assert list(read_table(folder / f"{name}.parquet").columns) == list(columns)
    for name in ("overlay.png", "signals.png"):
        Image.open(folder / name).load()
    with open_labels(folder / "nuclei.tif") as labels:
        assert labels[:].max() == len(cells) == len(features)
        shape = labels.shape
    with open_zip(folder / "dapi.zarr.zip") as store:
        assert store["dapi"].shape == store["foreground"].shape == shape
    with open_zip(folder / "anomaly_map.zarr.zip") as store:
        assert np.isnan(store["map"][:]).any()  # between the nuclei, or everywhere
        assert not np.isinf(store["map"][:]).any()
    assert zarr.open_array(folder / "field.ome.zarr/s0", mode="r").shape[-2:] == shape
    return len(cells)


@pytest.mark.parametrize("field", WHOLE)
def test_good_fields_are_complete(run, field):
    assert read_all(run.results / "fields" / field) == 49


@pytest.mark.parametrize("field", WITHOUT_NUCLEI)
def test_outputs_of_bad_fields_are_valid_and_empty(run, field):
    assert read_all(run.results / "fields" / field) == 0


@pytest.mark.parametrize("field", ["one", "giant"])
def test_a_single_nucleus_is_one(run, field):
    assert read_all(run.results / "fields" / field) == 1


def test_on_bad_field_fail(tmp_path):
    made = make_checkout(tmp_path / "checkout")
    write_field(made.folder / "in/flat.ome.tif", np.full((3, 64, 64), 7, np.uint16))
    made.write_sheet({"field": "flat", "image": "flat.ome.tif"})
    done = made.run("--cores", 1, "--config", "on_bad_field=fail", check=False)
    assert done.returncode != 0
    assert "error: in/flat.ome.tif: the DAPI channel has one flat value, 7," in done.stdout
    assert "Traceback" not in done.stdout


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"field": "normal"}, "row 3, column field: 'normal' is in row 2 again; allowed: "),
        ({"field": "../up"}, "row 3, column field: '../up' is not allowed; allowed: at most 100 "),
        ({"slide": "a;$(touch pwned)"}, "row 3, column slide: 'a;$(touch pwned)' is not allowed"),
        ({"pixel_size_um": "0"}, "row 3, column pixel_size_um: 0.0 is not allowed; allowed: a num"),
        ({"pixel_size_um": "-1"}, "row 3, column pixel_size_um: -1.0 is not allowed; allowed: a "),
        ({"pixel_size_um": "abc"}, "row 3, column pixel_size_um: 'abc' is not allowed; allowed: "),
        ({"pixelsize": "1"}, "row 1: unknown column 'pixelsize'; did you mean 'pixel_size_um'?"),
    ],
)
def test_a_mistake_in_the_sheet_stops_before_any_job(checkout, row, message):
    checkout.write_sheet(NORMAL, PATIENT | row)
    done = checkout.run("--cores", 1, check=False)
    assert done.returncode != 0
    assert f"error: {SHEET}, {message}" in done.stdout
    assert "Traceback" not in done.stdout
    assert "Job stats" not in done.stdout
    assert not checkout.results.exists()


def test_a_sheet_saved_by_excel(checkout):
    """Byte order mark, CRLF, tabs at the ends, empty rows, decimal commas, quotes."""
    text = (
        "field\timage\tslide\tpixel_size_um\t\t\r\n"
        '"normal"\tnormal.ome.tif\tN\t0,325\t\t\r\n'
        "patient\tpatient.ome.tif\tP\t\t\t\r\n\t\t\t\t\t\r\n"
    )
    (checkout.folder / SHEET).write_bytes(text.encode("utf-8-sig"))
    text = checkout.run("--dry-run", "--printshellcmds").stdout
    (command,) = (line for line in text.splitlines() if "preprocess.py --image in/normal" in line)
    assert "--pixel-size 0.325" in command


def test_results_where_nobody_may_write(checkout):
    """The kernel refuses folders there, also to root."""
    done = checkout.run("--cores", 1, "--config", "results=/proc/cellsieve", check=False)
    assert done.returncode != 0
    assert "/proc/cellsieve" in done.stdout.splitlines()[-1]
    assert "Traceback" not in done.stdout
