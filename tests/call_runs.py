"""Tables of fields as the stages before write them, and call_slide.py run on them."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd

from call_slide import main
from cellsieve.tables import ANOMALY, MEASUREMENTS, SIGNALS, read_table, write_table

SCRIPT = Path(__file__).parents[1] / "scripts" / "call_slide.py"
HEADER = ("field", "slide", "patient", "qc", "measurements", "signals", "anomaly")


def measured(n, border=(), overlap=(), touching=(), covered=()):
    cells = np.arange(1, n + 1)
    table = pd.DataFrame({"cell": cells, "area_px": 500})
    table["touches_border"] = np.isin(cells, border)
    table["overlapping"] = np.isin(cells, overlap)
    table["contact"] = np.where(np.isin(cells, touching), 0.12, 0.0)
    table["bright_part"] = np.where(np.isin(cells, covered), 1.7, 1.2)
    return table.reindex(columns=list(MEASUREMENTS))


def spots(probe, counts, seed=0):
    """Signals of contrast about 40 far from each other, and noise just above 3."""
    rng = np.random.default_rng(seed)
    rows = []
    for cell, count in enumerate(counts, start=1):
        rows += [
            (probe, cell, 20.0 * k, 0.0, 3.0, 40 * np.exp(rng.normal(0, 0.2))) for k in range(count)
        ]
        rows += [
            (probe, cell, 5.0 + 20 * k, 50.0, 3.0, 3 * np.exp(rng.exponential(0.15)))
            for k in range(4)
        ]
    table = pd.DataFrame(rows, columns=["probe", "cell", "y_px", "x_px", "size_px", "contrast"])
    return table.assign(height=10 * table["contrast"], shared=False)[list(SIGNALS)]


def scores(n, suspicious=(), p=True):
    rng = np.random.default_rng(1)
    table = pd.DataFrame({"cell": np.arange(1, n + 1)}).reindex(columns=list(ANOMALY))
    table["anomaly_score"] = rng.normal(10, 1, n)
    table["anomaly_p"] = np.linspace(0.05, 1, n) if p else np.nan
    at = np.array(suspicious, int) - 1
    table.loc[at, "anomaly_score"] = 30.0
    table.loc[at, "anomaly_p"] = 0.0005 if p else np.nan
    return table


def write_field(folder, name, measurements, signals, anomaly, status="ok", reasons=()):
    """Write a field's tables; return its row of the manifest."""
    shape = None if status == "rejected" else [500, 500]
    (folder / f"{name}.json").write_text(
        json.dumps({"status": status, "reasons": list(reasons), "shape": shape})
    )
    for kind, table, columns in (
        ("m", measurements, MEASUREMENTS), ("s", signals, SIGNALS), ("a", anomaly, ANOMALY)
    ):  # fmt: skip
        write_table(folder / f"{name}.{kind}", table, columns, ())
    return [name, "s1", "NA", *(str(folder / f"{name}.{e}") for e in ("json", "m", "s", "a"))]


def arguments(folder, rows, *more, probes=("aqua", "gold")):
    manifest = folder / "fields.tsv"
    manifest.write_text("".join("\t".join(r) + "\n" for r in (HEADER, *rows)))
    given = ["--fields", manifest, "--calls", folder / "calls.parquet", *more]
    given += ["--summary", folder / "slide.json", "--picture", folder / "slide.png"]
    for probe in probes:
        given += ["--probe", probe]
    return [*map(str, given)]


def call(folder, *given, **options):
    """Call a slide in this process, which saves importing everything each time."""
    main(arguments(folder, *given, **options))
    summary = json.loads((folder / "slide.json").read_text())
    return read_table(folder / "calls.parquet").set_index(["field", "cell"]), summary


def command_line(*given, **options):
    command = [sys.executable, str(SCRIPT), *arguments(*given, **options)]
    return subprocess.run(command, check=False, capture_output=True, text=True)
