"""Fields, reference models and scores, as the scripts of these stages read and write them."""

import subprocess
import sys
from pathlib import Path

import numpy as np
from synthetic import draw_field, write_manifest, write_stage

from cellsieve.anomaly.reference_files import MODEL
from cellsieve.measurement import measure_nuclei
from cellsieve.tables import MEASUREMENTS, write_table

SCRIPTS = Path(__file__).parents[1] / "scripts"
OUTPUTS = ("anomaly.parquet", "anomaly_map.zarr.zip")
SIDE, DIAMETER = 330, 24


def write_field(folder, seed, count=40, *, large=0, side=SIDE, **qc):
    """Write a field's stages; some nuclei of it may be twice as large as the others."""
    drawn = draw_field((side, side), DIAMETER, count, seed, touching=0, background=0)
    dapi, labels = np.maximum(drawn.image, 0), drawn.labels
    if large:
        giants = draw_field((side, side), 2 * DIAMETER, large, seed + 99, touching=0, background=0)
        covered = np.isin(labels, np.unique(labels[giants.labels > 0]))
        labels = np.where(covered, 0, labels)
        labels = np.where(giants.labels > 0, 1000 + giants.labels, labels)
        dapi = np.where(giants.labels > 0, giants.image, np.where(covered, 0, dapi))
    write_stage(folder, np.maximum(dapi, 0), labels.astype(np.uint32), **qc)
    table = measure_nuclei(np.rint(dapi), labels, qc.get("pixel_size_um"))
    write_table(folder / "measurements.parquet", table, MEASUREMENTS)
    return labels


def row(folder, slide, **more):
    paths = {"qc": "qc.json", "dapi": "dapi.zarr.zip", "nuclei": "nuclei.tif"}
    paths["measurements"] = "measurements.parquet"
    known = {"field": folder.name, "slide": slide, "reference_nuclei": ""}
    return known | {name: folder / file for name, file in paths.items()} | more


def build_arguments(folder, rows, *more):
    folder.mkdir(exist_ok=True)
    write_manifest(folder / "fields.tsv", rows)
    command = ["--fields", folder / "fields.tsv", *more]
    for file in MODEL:
        command += [f"--{file.split('.')[0]}", folder / file]
    return [str(part) for part in command]


def score_arguments(field, model):
    command = ["--field", field.name, "--reference", model]
    command += ["--dapi", field / "dapi.zarr.zip", "--qc", field / "qc.json"]
    command += ["--nuclei", field / "nuclei.tif", "--measurements", field / "measurements.parquet"]
    command += ["--anomaly", field / OUTPUTS[0], "--anomaly-map", field / OUTPUTS[1]]
    return [str(part) for part in command]


def call(script, arguments):
    command = [sys.executable, SCRIPTS / f"{script}.py", *arguments]
    return subprocess.run([*map(str, command)], check=False, capture_output=True, text=True)
