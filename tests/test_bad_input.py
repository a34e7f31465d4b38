"""Images, sheets and options that are wrong: one line each, and never another field's loss."""

import json

import numpy as np
import pytest
import tifffile
from checkout import draw, make_checkout, write_field
from PIL import Image

from cellsieve.tables import ANOMALY, MEASUREMENTS, SIGNALS

EVIL = "a b'c\"d;$(touch pwned)`touch pwned`&\\ü 核"
CHANNELS = {"dapi": "DAPI", "aqua": "Aqua", "gold": EVIL}
RESULTS = "my $(touch pwned) 'results'"
SCRIPT = "<script>alert(1)</script>"
TABLES = {"measurements": MEASUREMENTS, "signals": SIGNALS, "anomaly": ANOMALY}

FIELDS = {  # field: its status, and what its reason says
    "good": ("ok", ""),
    "evil": ("ok", ""),
    "truncated": ("rejected", ""),
    "png": ("ok", ""),
    "no_dapi": ("rejected", "no channel 'DAPI'"),
    "no_probe": ("flagged", "no channel for gold"),
    "nan": ("rejected", "NaN"),
    "black": ("rejected", "one flat value, 0,"),
    "saturated": ("rejected", "one flat value, 65535,"),
    "flat": ("rejected", "one flat value, 1000,"),
    "noise": ("empty", "nothing looks like a nucleus"),
    "one": ("ok", ""),
    "large": ("ok", ""),
    "pixel": ("rejected", "flat value"),
}


def draw_all(folder):
    """Write the image of every field of FIELDS."""
    good = draw(0)
    rng = np.random.default_rng(0)
    noise = rng.poisson(200, good.shape).astype(np.uint16)
    float_nan = good.astype(np.float32)
    float_nan[0, 100, 100] = np.nan
    large = rng.poisson(200, (3, 1300, 1300)).astype(np.uint16)
    y, x = np.mgrid[:1300, :1300]
    large[0][(y - 650) ** 2 + (x - 650) ** 2 < 560**2] += 1000
    for name, image in {
        "good": good,
        "evil": draw(1),
        "truncated": good,
        "nan": float_nan,
        "black": np.zeros_like(good),
        "saturated": np.full_like(good, 65535),
        "flat": np.full_like(good, 1000),
        "noise": noise,
        "one": draw(2, count=1),
        "large": large,
    }.items():
        write_field(folder / f"{name}.ome.tif", image, CHANNELS.values())
    write_field(folder / "no_dapi.ome.tif", good[1:], ["Aqua", CHANNELS["gold"]])
    write_field(folder / "no_probe.ome.tif", good[:2], ["DAPI", "Aqua"])
    for channel, plane in zip(CHANNELS.values(), good, strict=True):
        Image.fromarray(plane).save(folder / f"png_{channel}.tif", format="png")
        tifffile.imwrite(folder / f"pixel_{channel}.tif", plane[:1, :1])
    whole = (folder / "truncated.ome.tif").read_bytes()
    (folder / "truncated.ome.tif").write_bytes(whole[: len(whole) // 2])
    (folder / EVIL).mkdir()
    (folder / "evil.ome.tif").rename(folder / EVIL / "evil.ome.tif")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Run all fields, one whose file is missing and one whose file goes; then without these two."""
    made = make_checkout(tmp_path_factory.mktemp("bad") / "check out")
    draw_all(made.folder / "in")
    write_field(made.folder / "in/gone.ome.tif", draw(3))
    rows = [{"field": f, "image": f"{f}.ome.tif", "slide": "S", "x_mine": SCRIPT} for f in FIELDS]
    by_name = {row["field"]: row for row in rows}
    by_name["good"]["reference"] = "yes"
    by_name["evil"] |= {"image": f"../in/{EVIL}/evil.ome.tif", "note": EVIL}
    for name in ("png", "pixel"):
        by_name[name]["image"] = f"{name}_{{channel}}.tif"
    lost = [{"field": f, "image": f"{f}.ome.tif", "slide": f} for f in ("missing", "gone")]
    made.write_sheet(*lost, *rows)
    made.configure(results=json.dumps(RESULTS), channels=json.dumps(CHANNELS))
    made.results = made.folder / RESULTS
    return made
