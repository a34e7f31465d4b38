"""Every signal of simulated fields against those that are counted (run with -m research -s)."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

from cellsieve.benchmarks.agreement import join_truth
from cellsieve.simulation import render
from cellsieve.simulation.scene import Field
from cellsieve.simulation.slide import PROBES, draw_slide
from cellsieve.simulation.truth import Tally
from cellsieve.simulation.writing import write_field
from cellsieve.tables import ANOMALY, read_table, write_table

SCRIPTS = Path(__file__).parents[1] / "scripts"
WEIGHTS = SCRIPTS.parent / "resources" / "segmenters" / "votes.safetensors"
SLIDES = range(9001, 9009)
WITHIN_PX = 3.0  # half of the distance of a split signal's halves, and a little


class Witness:
    """Notes where the signals of a field are drawn, and the labels of their nuclei."""

    def __init__(self, monkeypatch):
        draw, draw_signals, lookup = render._draw, render.draw_signals, Tally.lookup
        self.dots = []

        def noting_item(*args):
            self.item = args[-1]
            draw(*args)

        def noting_dots(*args):
            dots, item = draw_signals(*args), self.item
            self.dots += [
                (item.index + 1, PROBES[d.probe].lower(), item.y + d.y, item.x + d.x, d.size)
                for d in dots
            ]
            return dots

        def noting_labels(tally):
            self.labels = lookup(tally)
            return self.labels

        monkeypatch.setattr(render, "_draw", noting_item)
        monkeypatch.setattr(render, "draw_signals", noting_dots)
        monkeypatch.setattr(Tally, "lookup", noting_labels)

    def signals(self):
        """One row a signal, the middle of its halves where it is split: they are of one size."""
        table = pd.DataFrame(self.dots, columns=["label", "probe", "y_px", "x_px", "size"])
        self.dots = []
        table["label"] = self.labels[table["label"]]
        return table.groupby(["label", "probe", "size"], as_index=False)[["y_px", "x_px"]].mean()


def run(script, *options):
    command = [sys.executable, SCRIPTS / f"{script}.py", *options]
    done = subprocess.run([*map(str, command)], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def call(folder):
    """Run the chain on a field; return its row of the manifest."""
    image, dapi, qc, nuclei = (folder / f for f in ("a.ome.tif", "d.zarr.zip", "q.json", "n.tif"))
    channels = ["--channel", "dapi=DAPI"]
    for probe in PROBES:
        channels += ["--channel", f"{probe.lower()}={probe}"]
    run("preprocess", "--image", image, *channels, "--dapi", dapi, "--qc", qc)
    seen = ["--qc", qc, "--nuclei", nuclei]
    run("segment", "--dapi", dapi, *seen, "--weights", WEIGHTS, "--overlay", folder / "o.png")
    run("measure", "--dapi", dapi, *seen, "--measurements", folder / "m")
    run("detect_signals", "--image", image, *channels, *seen, "--signals", folder / "s")
    cells = read_table(folder / "m")[["cell"]]
    write_table(folder / "a", cells.reindex(columns=list(ANOMALY)), ANOMALY)
    row = {"field": "f", "slide": "s", "patient": "NA", "qc": qc, "measurements": folder / "m",
           "signals": folder / "s", "anomaly": folder / "a"}  # fmt: skip
    pd.DataFrame([row]).to_csv(folder / "f.tsv", sep="\t", index=False)
    probes = [f"--probe={probe.lower()}" for probe in PROBES]
    outputs = [
        "--calls",
        folder / "c",
        "--summary",
        folder / "c.json",
        "--picture",
        folder / "c.png",
    ]
    run("call_slide", "--fields", folder / "f.tsv", *probes, *outputs)
    return {"field": "f", "nuclei": str(nuclei), "truth": str(folder / "a.labels.tif")}


def strongest(spots, count, split_px):
    """Places of the strongest spots that are no halves of a stronger one."""
    chosen = np.zeros((0, 2))
    for place in spots.sort_values("contrast", ascending=False)[["y_px", "x_px"]].to_numpy():
        if len(chosen) < count and (np.hypot(*(chosen - place).T) > split_px).all():
            chosen = np.vstack([chosen, place])
    return chosen


def matched(found, true):
    """Pairs within reach, one to one."""
    if not len(found) or not len(true):
        return 0
    far = cdist(found, true)
    return int((far[linear_sum_assignment(np.minimum(far, 10 * WITHIN_PX))] <= WITHIN_PX).sum())


@pytest.mark.research
def test_signals_are_found_at_their_places(tmp_path, monkeypatch):
    witness = Witness(monkeypatch)
    tally = {probe.lower(): np.zeros(3, int) for probe in PROBES}  # hits, found, true
    for number in SLIDES:
        folder = tmp_path / str(number)
        folder.mkdir()
        files = (folder / f"a{end}" for end in (".ome.tif", ".labels.tif", ".cells.tsv"))
        write_field(Field(1024, 1024, 130, seed=number), draw_slide(number), *files)
        true = witness.signals()
        row = call(folder)
        calls = join_truth([row], read_table(folder / "c"))
        spots = read_table(folder / "s")
        probes = json.loads((folder / "c.json").read_text())["probes"]
        for cell in calls[calls["fish_call"] != "not_assessable"].itertuples():
            for probe, said in probes.items():
                if said["status"] != "ok":
                    continue
                own = spots[(spots["cell"] == cell.cell) & (spots["probe"] == probe)]
                found = strongest(own, getattr(cell, probe), said["split_px"])
                here = (true["label"] == cell.true_label) & (true["probe"] == probe)
                places = true.loc[here, ["y_px", "x_px"]].to_numpy()
                tally[probe] += matched(found, places), len(found), len(places)
    hits, found, there = np.sum(list(tally.values()), axis=0)
    for probe, (h, f, t) in tally.items():
        print(f"{probe}: F1 {2 * h / (f + t):.3f} of {t} signals")
    score = 2 * hits / (found + there)
    print(f"F1 {score:.3f}, precision {hits / found:.3f}, recall {hits / there:.3f}")
    assert score >= 0.95
