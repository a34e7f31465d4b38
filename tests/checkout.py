"""What the workflow's tests share: checkouts of their own, tiny fields, real runs."""

import csv
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tifffile
from scipy import ndimage

ROOT = Path(__file__).parents[1]
PARTS = ("Snakefile", "config.yaml", "workflow", "profiles", "scripts", "envs", "resources")
SHEET = Path("in/fields.tsv")
_JOB = re.compile(r"^(?:local)?rule (\w+):\n((?:    .*\n)*)", re.MULTILINE)


class Job(NamedTuple):
    """One job of a plan."""

    rule: str
    wildcard: str
    resources: str

    @property
    def name(self):
        return f"{self.rule} {self.wildcard}".strip()


class Checkout:
    """A copy of the checkout with a sheet, in which snakemake runs as a user runs it."""

    def __init__(self, folder):
        self.folder = folder
        self.results = folder / "results"
        self.configfile = "mine.yaml"

    def configure(self, **more):
        """Write the user's own configuration; ``channels`` are as `draw` draws them."""
        values = {"fields": SHEET, "channels": "{dapi: DAPI, aqua: Aqua, gold: Gold}"}
        # most tests are not about networks, which take seconds to be imported
        values = values | {"segmenter": "{method: coarse}"} | more
        text = "".join(f"{key}: {value}\n" for key, value in values.items())
        (self.folder / "mine.yaml").write_text(text, encoding="utf-8")

    def command(self, *args):
        own = ["--configfile", self.configfile] if self.configfile else []
        return [sys.executable, "-m", "snakemake", *own, *map(str, args)]

    def start(self, *args, log=subprocess.DEVNULL):
        """Start a run that can be killed with all its jobs."""
        return subprocess.Popen(
            self.command(*args),
            cwd=self.folder,
            env=environment(),
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def run(self, *args, check=True):
        """Run to the end; what is printed is in stdout."""
        done = subprocess.run(
            self.command(*(args or ("--cores", 2))),
            cwd=self.folder,
            env=environment(),
            check=False,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        assert not check or done.returncode == 0, done.stdout
        return done

    def jobs(self, *args):
        """Return the jobs of a dry run, without rule all."""
        text = self.run("--dry-run", *args).stdout
        found = []
        for rule, block in _JOB.findall(text):
            lines = dict(line.strip().partition(": ")[::2] for line in block.splitlines())
            wildcard = lines.get("wildcards", "").partition("=")[2]
            found.append(Job(rule, wildcard, lines.get("resources", "")))
        return [job for job in found if job.rule != "all"]

    def plan(self, *args):
        """Return the names of the jobs of a dry run: rule and wildcard."""
        return sorted(job.name for job in self.jobs(*args))

    def write_sheet(self, *rows):
        """Write the sheet; its columns are those that any row has."""
        columns = list(dict.fromkeys(key for row in rows for key in row))
        with (self.folder / SHEET).open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, columns, dialect="excel-tab", restval="")
            writer.writeheader()
            writer.writerows(rows)


def environment():
    """Return an environment in which the rules' ``python`` is this one."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    kept = {key: value for key, value in os.environ.items() if key != "SNAKEMAKE_PROFILE"}
    return {**kept, "PATH": path}


def make_checkout(folder):
    """Copy the checkout, without its results, and configure it for what `draw` draws."""
    folder.mkdir()
    for part in PARTS:
        source = ROOT / part
        if source.is_dir():
            ignored = shutil.ignore_patterns("__pycache__", "weights")
            shutil.copytree(source, folder / part, symlinks=True, ignore=ignored)
        else:
            shutil.copy(source, folder / part)
    (folder / "in").mkdir()
    made = Checkout(folder)
    made.configure()
    return made


def wait_for(look, run):
    """Look until something is found, and return it; None when the run ends before."""
    while run.poll() is None:
        if found := look():
            return found
        time.sleep(0.002)
    return None


def kill(process, group=True):
    """End a run as a power cut does."""
    (os.killpg if group else os.kill)(process.pid, signal.SIGKILL)
    process.wait()


def draw(seed, side=256, pitch=36, radius=11.0, count=None):
    """Draw a field of textured round nuclei with two signals a probe in each.

    Returns
    -------
    ndarray, (3, side, side), uint16
        DAPI, Aqua, Gold.
    """
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side]
    planes = np.zeros((3, side, side))
    per_row = side // pitch
    for place in range(per_row**2 if count is None else count):
        cell = (np.array(divmod(place, per_row)) + 0.5) * pitch
        cy, cx = cell + (side - per_row * pitch) / 2 + rng.uniform(-3, 3, 2)
        ry, rx = radius * rng.uniform(0.85, 1.15, 2)
        planes[0][((y - cy) / ry) ** 2 + ((x - cx) / rx) ** 2 < 1] = rng.uniform(900, 1300)
        for probe in (1, 2):
            angle = rng.uniform(0, np.pi)
            for half in (-radius / 2, radius / 2):
                oy, ox = cy + half * np.sin(angle), cx + half * np.cos(angle)
                planes[probe] += 400 * np.exp(-((y - oy) ** 2 + (x - ox) ** 2) / 3.4)
    texture = ndimage.gaussian_filter(rng.normal(size=(side, side)), 2)
    planes[0] = ndimage.gaussian_filter(planes[0] * (1 + 1.8 * texture), 0.8)
    counts = rng.poisson(planes + 200) + rng.normal(0, 4, planes.shape)
    return counts.clip(0, 65535).astype(np.uint16)


def write_field(path, image, names=("DAPI", "Aqua", "Gold"), pixel_size_um=0.3):
    """Write channels as an OME-TIFF that names them."""
    sizes = {f"PhysicalSize{axis}": pixel_size_um for axis in "XY"}
    units = {f"PhysicalSize{axis}Unit": "µm" for axis in "XY"}
    metadata = {"axes": "CYX", "Channel": {"Name": list(names)}, **sizes, **units}
    tifffile.imwrite(path, image, photometric="minisblack", metadata=metadata)


NORMAL = {"field": "normal", "image": "normal.ome.tif", "slide": "N", "reference": "yes"}
PATIENT = {"field": "patient", "image": "patient.ome.tif", "slide": "P", "patient": "p1"}
