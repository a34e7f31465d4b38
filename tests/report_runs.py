"""The files of a small run of drawn nuclei, and what a page made of them must always be."""

import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import tifffile

from cellsieve import pictures, stores
from cellsieve.cell_table import cell_columns

SCRIPT = Path(__file__).parents[1] / "scripts" / "report.py"
PROBES = ["aqua", "green", "red"]
SHAPE = (420, 520)
EVIL = "<script>alert(1)</script>"
RECORD = {
    "seed": 1,
    "field": "0034",
    "versions": {"numpy": "2.0.2"},
    "inputs": {"fields.tsv": "ab12"},
}


def draw_nuclei(seed, shape=SHAPE, diameter=44):
    """Labels, DAPI and probe planes of a field with a nucleus in most cells of a grid."""
    rng = np.random.default_rng(seed)
    y, x = np.indices(shape)
    labels = np.zeros(shape, np.uint32)
    planes = {role: np.full(shape, 12.0) for role in ("dapi", *PROBES)}
    for top in range(10, shape[0] - 70, 72):
        for left in range(8, shape[1] - 70, 72):
            cy, cx = top + 34 + rng.integers(-6, 7), left + 34 + rng.integers(-6, 7)
            a, b = diameter / 2 * rng.uniform(0.85, 1.2, 2)
            turn = rng.uniform(0, np.pi)
            u = (y - cy) * np.cos(turn) + (x - cx) * np.sin(turn)
            v = (x - cx) * np.cos(turn) - (y - cy) * np.sin(turn)
            inside = (u / a) ** 2 + (v / b) ** 2 <= 1
            labels[inside] = labels.max() + 1
            planes["dapi"][inside] += rng.uniform(700, 1100)
            for role in PROBES:
                planes[role][inside] += 60
                for spot in np.add(rng.uniform(-12, 12, (2, 2)), (cy, cx)):
                    planes[role] += 900 * np.exp(-((y - spot[0]) ** 2 + (x - spot[1]) ** 2) / 4)
    noisy = {r: np.clip(rng.normal(p, 12 + 0.06 * p), 0, None) for r, p in planes.items()}
    return labels, {role: plane.astype(np.uint16) for role, plane in noisy.items()}


def write_field(folder, field, seed, status="ok", pixel_size_um=0.25):
    """Write all stage files of one field; return its row of the manifest and its labels."""
    folder.mkdir(parents=True)
    rejected = status == "rejected"
    labels, planes = draw_nuclei(seed)
    if rejected:
        labels, planes = np.zeros((1, 1), np.uint32), {"dapi": np.zeros((1, 1), np.uint16)}
    elif status == "empty":
        labels[:] = 0
    tifffile.imwrite(
        folder / "image.ome.tif",
        np.stack(list(planes.values())),
        photometric="minisblack",
        metadata={"axes": "CYX", "Channel": {"Name": list(planes)}},
    )
    with stores.create_zip(folder / "dapi.zarr.zip") as group:
        stores.add_plane(group, "dapi", labels.shape, np.uint16)[:] = planes["dapi"]
        stores.add_plane(group, "foreground", labels.shape, np.uint8)[:] = labels > 0
    stores.write_labels(folder / "nuclei.tif", labels, pixel_size_um)
    grey = pictures.stretch(planes["dapi"], (0, 1300))
    pictures.save_png(folder / "overlay.png", pictures.outline_overlay(grey, labels))
    with stores.create_zip(folder / "anomaly_map.zarr.zip") as group:
        scores = 0.2 + planes["dapi"][::8, ::8].astype(np.float32) / 2000
        scores[labels[::8, ::8] == 0] = np.nan
        stores.add_plane(group, "map", scores.shape, np.float32)[:] = scores
        group.attrs.update(scale=8, unit="score")
    qc = {
        "status": status,
        "reasons": {"rejected": ["the file is truncated"], "empty": ["no nuclei"]}.get(status, []),
        "shape": None if rejected else list(labels.shape),
        "channels": list(planes),
        "missing_channels": [],
        "pixel_size_um": None if rejected else pixel_size_um,
        "diameter_px": None if rejected else 44.0,
        "focus": None if rejected else 0.81,
    }
    (folder / "qc.json").write_text(json.dumps(qc))
    paths = {
        "image": folder / "image.ome.tif",
        "qc": folder / "qc.json",
        "dapi": folder / "dapi.zarr.zip",
        "nuclei": folder / "nuclei.tif",
        "overlay": folder / "overlay.png",
        "anomaly_map": folder / "anomaly_map.zarr.zip",
    }
    return {"field": field, **{key: str(path) for key, path in paths.items()}}, labels


def cell_rows(labels, field, slide, patient, probes=PROBES, *, reference=True, seed=0):
    """Rows of cells.csv for the labels, with made-up scores."""
    rng = np.random.default_rng(seed)
    index = np.unique(labels)[1:]
    middles = [np.argwhere(labels == label).mean(axis=0) for label in index]
    frame = pd.DataFrame(index=range(len(index)), columns=cell_columns(probes), dtype=object)
    frame["cell"], frame["field"], frame["slide"], frame["patient"] = index, field, slide, patient
    frame["y_px"], frame["x_px"] = [m[0] for m in middles], [m[1] for m in middles]
    frame["area_px"] = [int((labels == label).sum()) for label in index]
    frame["dapi_sum"] = frame["area_px"] * 900.0
    frame["touches_border"] = frame["overlapping"] = False
    frame["anomaly_score"] = rng.gamma(2, 0.2, len(index))
    frame["anomaly_z"] = rng.normal(0, 1, len(index))
    if reference:
        frame["anomaly_p"] = frame["anomaly_q"] = rng.uniform(0.01, 1, len(index))
        frame["nearest_reference_1"], frame["nearest_reference_2"] = "ref:1", "ref:2"
    frame["call"], frame["fish_call"], frame["reasons"] = "normal", "normal", ""
    for probe in probes:
        frame[probe], frame[f"{probe}_state"] = 2, "normal"
    return frame


def write_thumbnails(path, ids, grey):
    with stores.create_zip(path) as group:
        group.create_array("thumbnails", data=np.full((len(ids), 64, 64), grey, np.uint8))
        group.attrs["ids"] = ids


class Run:
    """The files that the report is made of, in a folder; change them, then `report`."""

    def __init__(self, folder, statuses=("ok", "ok", "rejected"), probes=PROBES, reference=True):
        self.folder, self.probes = folder, list(probes)
        self.manifest, self.fields, cells = [], [], []
        for n, status in enumerate(statuses):
            field, slide, patient = f"field_{n}", f"slide_{n // 2}", f"P{n // 2}"
            row, labels = write_field(folder / "fields" / field, field, n, status)
            summary = folder / "slides" / slide / "slide.json"
            summary.parent.mkdir(parents=True, exist_ok=True)
            found = {"status": "ok", "reason": "", "threshold": 7.25, "nuclei_by_count": [0, 1, 9]}
            probes_found = dict.fromkeys(self.probes, found)
            told = {"assessable_cac": 20, "notes": ["a note & more"]}
            summary.write_text(json.dumps({"probes": probes_found, **told}))
            pictures.save_png(summary.with_name("signals.png"), np.full((90, 300), 200, np.uint8))
            self.manifest.append(
                {**row, "slide": slide, "patient": patient, "slide_summary": str(summary)}
            )
            cells.append(
                cell_rows(labels, field, slide, patient, probes, reference=reference, seed=n)
            )
            reason = "the file is truncated" if status == "rejected" else ""
            self.fields.append(
                {"field": field, "slide": slide, "status": status, "reason": reason, "nuclei": 9}
            )
        self.cells = pd.concat(cells, ignore_index=True)
        self.slides = [{"slide": s, "nuclei": 5} for s in sorted({r["slide"] for r in self.fields})]
        self.patients = [{"patient": "P0", "nuclei": 5}]
        self.reference = reference

    def report(self, *extra):
        """Make the page; return its text."""
        paths = {}
        tables = {
            "cells": self.cells,
            "fields-table": pd.DataFrame(self.fields),
            "slides": pd.DataFrame(self.slides),
            "patients": pd.DataFrame(self.patients),
        }
        for name, table in tables.items():
            paths[name] = self.folder / f"{name}.csv"
            table.to_csv(paths[name], index=False)
        paths["fields"] = self.folder / "manifest.tsv"
        pd.DataFrame(self.manifest).to_csv(paths["fields"], sep="\t", index=False)
        paths["record"] = self.folder / "record.json"
        paths["record"].write_text(json.dumps(RECORD))
        if self.reference:
            paths["reference-thumbnails"] = self.folder / "thumbnails.zarr.zip"
            write_thumbnails(paths["reference-thumbnails"], ["ref:1", "ref:2"], 90)
        paths["report"] = self.folder / "out" / "index.html"
        command = [sys.executable, str(SCRIPT)]
        for name, path in paths.items():
            command += [f"--{name}", str(path)]
        for role in ("dapi", *self.probes):
            command += ["--channel", f"{role}={role}"]
        done = subprocess.run([*command, *extra], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return paths["report"].read_text(encoding="utf-8")


class Page(HTMLParser):
    """Everything of a page that matters here."""

    def __init__(self, text):
        super().__init__()
        self.ids, self.links, self.images, self.scripts, self.text = set(), [], [], 0, ""
        self.headings, self.loads = [], []
        self._inside = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        if tag in ("script", "style", "h2", "h3"):
            self._inside.append(tag)
        self.scripts += tag == "script"
        if "id" in attrs:
            assert attrs["id"] not in self.ids, attrs["id"]
            self.ids.add(attrs["id"])
        if tag == "a":
            self.links.append(attrs["href"])
        if tag == "img":
            self.images.append(attrs)
        self.loads += [attrs[key] for key in ("src", "srcset", "data") if key in attrs]
        assert tag not in ("link", "iframe", "object", "embed")
        assert not any(key.startswith("on") for key in attrs)

    def handle_endtag(self, tag):
        if self._inside and tag == self._inside[-1]:
            self._inside.pop()

    def handle_data(self, data):
        if self._inside and self._inside[-1] in ("script", "style"):
            assert "http" not in data
            assert "@import" not in data
            return
        self.text += data
        if self._inside:
            self.headings.append(" ".join(data.split()))


def check(html):
    """Return the page after what must hold for every report."""
    page = Page(html)
    assert page.scripts == 1
    assert all(link.startswith("#") and link[1:] in page.ids for link in page.links)
    assert all(source.startswith("data:image/webp;base64,") for source in page.loads)
    assert all(image["alt"] for image in page.images)
    assert "Research use only" in page.text
    assert "nan" not in re.findall(r"[a-z]+", page.text.lower())
    assert "None" not in page.text
    return page
