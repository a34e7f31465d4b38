"""Small images of nuclei with known truth, drawn with numpy alone."""

import hashlib
import json
from typing import NamedTuple

import numpy as np
import pandas as pd
import tifffile
from scipy import ndimage

from cellsieve.stores import add_plane, create_zip, write_labels

PEAK = 1000.0  # counts of a nucleus above the background


class Drawing(NamedTuple):
    """An image, float counts, and the labels of what was drawn on it."""

    image: np.ndarray
    labels: np.ndarray


def ellipse(shape, centre, axes, angle=0.0):
    """Mask of an ellipse with half axes ``axes``, its first one turned by ``angle`` from y."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    dy, dx = y - centre[0], x - centre[1]
    along = dy * np.cos(angle) + dx * np.sin(angle)
    across = dx * np.cos(angle) - dy * np.sin(angle)
    return (along / axes[0]) ** 2 + (across / axes[1]) ** 2 <= 1


def draw_field(shape, diameter, count, seed=0, *, touching=0.3, blur=1.2, background=200.0):
    """Scatter ellipses, a share of them against an earlier one; blur and add camera noise."""
    rng = np.random.default_rng(seed)
    labels = np.zeros(shape, np.uint32)
    image = np.zeros(shape)
    centres = []
    for _ in range(50 * count):
        if len(centres) == count:
            break
        if centres and rng.random() < touching:
            angle = rng.uniform(0, 2 * np.pi)
            beside = centres[rng.integers(len(centres))]
            centre = beside + 0.97 * diameter * np.array([np.sin(angle), np.cos(angle)])
        else:
            centre = rng.uniform(0, shape)
        if not all(0 < c < n for c, n in zip(centre, shape, strict=True)):
            continue
        if centres and np.hypot(*(np.array(centres) - centre).T).min() < 0.95 * diameter:
            continue
        centres.append(centre)
        _draw_nucleus(image, labels, centre, diameter, rng)
    image = ndimage.gaussian_filter(image, blur) + background
    return Drawing(image + rng.normal(0, 2 + np.sqrt(image) / 4), labels)


def _draw_nucleus(image, labels, centre, diameter, rng):
    radius = diameter / 2 * rng.uniform(0.85, 1.1)
    stretch = rng.uniform(1.0, 1.25)
    corner = np.maximum(np.array(centre - diameter, int), 0)
    window = tuple(slice(c, c + int(2 * diameter) + 2) for c in corner)
    view = labels[window]
    mask = ellipse(
        view.shape, centre - corner, (radius * stretch, radius / stretch), rng.uniform(0, np.pi)
    )
    texture = ndimage.gaussian_filter(rng.normal(size=view.shape), 0.06 * diameter)
    texture /= max(texture.std(), 1e-9)
    mask &= view == 0
    view[mask] = labels.max() + 1
    image[window][mask] = PEAK * rng.uniform(0.6, 1.3) * (1 + 0.1 * texture[mask])


def write_image(path, image, pixel_size_um=0.3):
    """Write one DAPI channel as uint16 OME-TIFF."""
    metadata = {"axes": "CYX", "Channel": {"Name": ["DAPI"]}}
    if pixel_size_um:
        for axis in "XY":
            metadata |= {f"PhysicalSize{axis}": pixel_size_um, f"PhysicalSize{axis}Unit": "µm"}
    pixels = np.clip(np.rint(image), 0, 65535).astype(np.uint16)[np.newaxis]
    tifffile.imwrite(path, pixels, metadata=metadata)


def write_stage(folder, dapi, labels, **qc):
    """Write what preprocess.py and segment.py would have left for a field in ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    with create_zip(folder / "dapi.zarr.zip") as store:
        add_plane(store, "dapi", dapi.shape, np.uint16)[:] = dapi.astype(np.uint16)
    write_labels(folder / "nuclei.tif", labels)
    known = {
        "status": "ok",
        "reasons": [],
        "pixel_size_um": None,
        "diameter_px": 24.0,
        "nuclear_intensity": PEAK,
        "image_sha256": hashlib.sha256(dapi.tobytes()).hexdigest(),
    }
    (folder / "qc.json").write_text(json.dumps(known | qc))


def write_manifest(path, rows):
    """Write the fields of a run, one dict a row."""
    pd.DataFrame(rows).to_csv(path, sep="\t", index=False)
