"""Pseudo-labels by the command line: what is accepted, what refused and why, what ignored."""

import json
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy import ndimage
from synthetic import ellipse
from test_mask_table import table

from cellsieve import choices
from cellsieve.pseudo_labelling.ignore_regions import Region, halo, ignored, paint
from cellsieve.pseudo_labelling.nucleus_checks import CHECKS, complaints, quality
from cellsieve.pseudo_labelling.pseudo_labels import COLUMNS, SOURCES
from cellsieve.pseudo_labelling.run_length import encode
from cellsieve.stores import add_plane, create_zip, open_zip
from cellsieve.tables import read_table, write_table

SCRIPT = Path(__file__).parents[1] / "scripts" / "pseudo_labels.py"
DIAMETER = 24.0
SHAPE = (220, 640)  # wider than a tile of the store
PROMPTS = {"candidate": "int64", "y_px": "float64", "x_px": "float64", "top_px": "int64"}
PROMPTS |= dict.fromkeys(["left_px", "bottom_px", "right_px", "area_px"], "int64")
PROMPTS |= {"mask": "object", "kept": "bool", "reason": "string"}
MASKS = {name: kind for name, kind in PROMPTS.items() if name not in ("y_px", "x_px", "kept")}
del MASKS["reason"]
MASKS |= {"predicted_iou": "float64", "stability": "float64", "duplicate_of": "Int64"}


class Scene(NamedTuple):
    """Counts of a field and the candidates in it, by what they are."""

    counts: np.ndarray
    masks: dict[str, np.ndarray]


@pytest.fixture(scope="module")
def scene():
    radius = DIAMETER / 2
    disc = (radius, radius)
    masks = {
        "disc": ellipse(SHAPE, (40, 40), disc),
        "oval": ellipse(SHAPE, (40, 110), (17, 9.5), 0.5),
        "pair": ellipse(SHAPE, (40, 180), disc) | ellipse(SHAPE, (40, 201), disc),
        "dim": ellipse(SHAPE, (40, 260), disc),
        "cut": ellipse(SHAPE, (40, 637), disc),
        "at the seam": ellipse(SHAPE, (110, 512), disc),
        "speck": ellipse(SHAPE, (120, 40), (3, 3)),
        "two lobes": ellipse(SHAPE, (120, 110), (11, 20), 0.0),
        "off the edge": ellipse(SHAPE, (120, 187), disc),
        "haze": ellipse(SHAPE, (120, 260), disc),
        "streak": ellipse(SHAPE, (120, 330), (26, 4.5)),
        "giant": ellipse(SHAPE, (120, 420), (50, 50)),
        "star": ellipse(SHAPE, (40, 330), (20, 5)) | ellipse(SHAPE, (40, 330), (5, 20)),
    }
    counts = sum(1000.0 * mask for name, mask in masks.items() if name not in ("dim", "haze"))
    lobes = [ellipse(SHAPE, (120, x), (11, 9)) for x in (100, 120)]
    counts = counts - 650 * (masks["two lobes"] & ~(lobes[0] | lobes[1]))
    counts[:, 185:200][ellipse(SHAPE, (120, 187), disc)[:, 185:200]] = 0  # half of it is empty
    counts += 8.0 * masks["dim"]
    counts += 1000.0 * ellipse(SHAPE, (190, 300), disc)  # a nucleus that nobody found
    counts = ndimage.gaussian_filter(counts, 1.2)
    y, x = np.indices(SHAPE)
    counts += 600 * np.exp(-((y - 120) ** 2 + (x - 260) ** 2) / (2 * 20**2))  # the haze
    noise = np.random.default_rng(0).normal(4, 4, SHAPE)
    return Scene(np.clip(np.rint(counts + noise), 0, 65535).astype(np.uint16), masks)


def prompts_of(masks):
    made = table(masks.values()).assign(kept=True, reason="")
    middles = np.array([np.argwhere(mask).mean(0) for mask in masks.values()])
    return made.assign(y_px=middles[:, 0], x_px=middles[:, 1])[list(PROMPTS)]


def answers_of(prompts, **columns):
    known = {"predicted_iou": 0.95, "stability": 0.95, "duplicate_of": pd.NA}
    return prompts.reindex(columns=list(MASKS)).assign(**(known | columns))


def write_field(folder, counts, prompts, masks=None, diameter=DIAMETER):
    with create_zip(folder / "dapi.zarr.zip") as store:
        add_plane(store, "dapi", counts.shape, counts.dtype)[:] = counts
        add_plane(store, "foreground", counts.shape, np.uint8)[:] = counts > 400
    (folder / "qc.json").write_text(json.dumps({"diameter_px": diameter, "status": "ok"}))
    write_table(folder / "prompts.parquet", prompts, PROMPTS)
    if masks is not None:
        write_table(folder / "masks.parquet", masks, MASKS)


def run_script(folder, *more):
    command = [sys.executable, SCRIPT, "--dapi", folder / "dapi.zarr.zip"]
    command += ["--qc", folder / "qc.json", "--prompts", folder / "prompts.parquet"]
    command += ["--labels", folder / "labels.zarr.zip", "--table", folder / "labels.parquet"]
    command += ["--picture", folder / "labels.png", *more]
    return subprocess.run([str(c) for c in command], check=False, capture_output=True, text=True)


def outputs(folder):
    with open_zip(folder / "labels.zarr.zip") as store:
        planes = {name: store[name][:, :] for name in store.array_keys()}
    return read_table(folder / "labels.parquet"), planes


def result_bytes(folder):
    return [(folder / f"labels.{kind}").read_bytes() for kind in ("zarr.zip", "parquet", "png")]


@pytest.fixture(scope="module")
def coarse(tmp_path_factory, scene):
    folder = tmp_path_factory.mktemp("coarse")
    write_field(folder, scene.counts, prompts_of(scene.masks))
    done = run_script(folder, "--from", "coarse")
    assert done.returncode == 0, done.stderr
    return folder, done.stderr


REASONS = {
    "pair": "neck",
    "dim": "contrast to noise",
    "speck": "small: area",
    "two lobes": "two bright lobes",
    "off the edge": "half-intensity",
    "haze": "in glare or haze",
    "streak": "narrow",
    "giant": "beyond any single nucleus",
    "star": "ragged",
}


def test_single_nuclei_are_accepted_and_the_others_refused_for_their_fault(coarse, scene):
    verdicts, _ = outputs(coarse[0])
    assert list(verdicts.columns) == list(COLUMNS)
    named = dict(zip(scene.masks, verdicts.itertuples(), strict=True))
    accepted = {name for name, row in named.items() if row.accepted}
    assert accepted == {"disc", "oval", "cut", "at the seam"}
    assert all(REASONS[name] in named[name].reason for name in REASONS)
    assert all(named[name].reason == "" for name in accepted)
    assert {name for name, row in named.items() if row.touches_border} == {"cut"}
    assert pd.isna(named["giant"].contrast)
    assert verdicts.label.notna().tolist() == verdicts.accepted.tolist()
    assert "4 of 13 candidates accepted" in coarse[1]


def test_labels_are_the_masks_numbered_in_reading_order(coarse, scene):
    verdicts, planes = outputs(coarse[0])
    labels = planes["labels"]
    assert labels.dtype == np.uint32
    for name, row in zip(scene.masks, verdicts.itertuples(), strict=True):
        if row.accepted:
            assert np.array_equal(labels == row.label, scene.masks[name])
    found, first = np.unique(labels[labels > 0], return_index=True)
    assert found.tolist() == [1, 2, 3, 4]
    assert (np.diff(first) > 0).all()


def test_the_refused_and_the_missed_are_ignored_and_no_label_is(coarse, scene):
    _, planes = outputs(coarse[0])
    ignore = planes["ignore"] > 0
    for name in REASONS:
        assert ignore[scene.masks[name]].all()
    missed = ellipse(SHAPE, (190, 300), (10, 10))
    assert ignore[missed].all()
    assert not (ignore & (planes["labels"] > 0)).any()
    near = ndimage.binary_dilation(scene.masks["disc"], iterations=6) & ~scene.masks["disc"]
    assert not ignore[near].any()  # where a nucleus ends must be learned
    assert ignore.mean() < 0.35


def test_the_picture_shows_both(coarse):
    picture = np.asarray(Image.open(coarse[0] / "labels.png").convert("RGB")).astype(int)
    assert picture.shape[:2] == SHAPE
    assert (picture[..., 1] - picture[..., 0] > 100).any()
    assert (picture[..., 0] - picture[..., 1] > 50).sum() > 1000


def test_order_of_rows_and_a_second_run_change_nothing(coarse, tmp_path, scene):
    shuffled = prompts_of(scene.masks).sample(frac=1, random_state=3)
    write_field(tmp_path, scene.counts, shuffled)
    assert run_script(tmp_path, "--from", "coarse").returncode == 0
    assert result_bytes(tmp_path) == result_bytes(coarse[0])


@pytest.fixture
def answered(scene):
    """Candidates and answers, with one fault of the model's a row."""
    names = ["disc", "oval", "cut", "at the seam", "pair"]
    prompts = prompts_of({name: scene.masks[name] for name in names})
    refused = prompts.iloc[[3]].assign(kept=False, reason="roundness 0.3, at least 0.5")
    prompts = pd.concat([prompts.drop(index=3), refused])
    return prompts, answers_of(prompts[prompts.kept])


def replaced(masks, candidate, mask):
    """The same answers with another mask for one candidate."""
    masks = masks.reset_index(drop=True)
    row = table([mask]).iloc[0]
    for name in ("top_px", "left_px", "bottom_px", "right_px", "mask", "area_px"):
        masks.at[int(np.flatnonzero(masks.candidate == candidate)[0]), name] = row[name]
    return masks


def verdicts_of(folder, scene, prompts, masks, *more):
    write_field(folder, scene.counts, prompts, masks)
    done = run_script(folder, "--masks", folder / "masks.parquet", *more)
    assert done.returncode == 0, done.stderr
    return outputs(folder)[0].set_index("candidate")


def test_what_a_model_is_unsure_of_is_refused(tmp_path, scene, answered):
    prompts, masks = answered
    masks = masks.assign(predicted_iou=[0.5, 0.95, 0.95, 0.95], stability=[0.95, 0.5, 0.95, 0.95])
    found = verdicts_of(tmp_path, scene, prompts, masks)
    assert found.accepted.tolist() == [False, False, True, False, False]
    assert "predicted IoU 0.5, at least 0.8" in found.reason[1]
    assert "stability 0.5, at least 0.85" in found.reason[2]
    assert found.reason[4] == "roundness 0.3, at least 0.5"
    assert "neck" in found.reason[5]
    assert found.agreement[[1, 2, 3, 5]].tolist() == [1, 1, 1, 1]
    assert pd.isna(found.agreement[4])


def test_a_model_that_repeats_leaks_or_gives_nothing(tmp_path, scene, answered):
    prompts, masks = answered
    leaked = scene.masks["disc"] | ellipse(SHAPE, (40, 48), (12, 16))
    masks = replaced(masks, 1, leaked).set_index("candidate")
    box = (masks.bottom_px[2] - masks.top_px[2], masks.right_px[2] - masks.left_px[2])
    nothing = encode(np.zeros(box, bool))
    masks["mask"] = [nothing if row == 2 else mask for row, mask in masks["mask"].items()]
    masks.loc[2, "area_px"] = 0
    masks.loc[5, "duplicate_of"] = 3
    found = verdicts_of(tmp_path, scene, prompts, masks.reset_index())
    assert "half-intensity" in found.reason[1]
    assert found.reason[2] == "the model gives no mask"
    assert "neck" in found.reason[5]
    assert found.accepted.tolist() == [False, False, True, False, False]
    ignore = outputs(tmp_path)[1]["ignore"] > 0
    assert ignore[scene.masks["oval"] | leaked].all()


def test_a_repeated_mask_is_lost_only_to_a_better_one_that_is_accepted(tmp_path, scene, answered):
    prompts, masks = answered
    # candidate 5 lies elsewhere, so the disc's mask is no good answer to it
    repeated = replaced(masks, 5, scene.masks["disc"]).set_index("candidate")
    repeated.loc[5, "predicted_iou"] = 0.99
    repeated.loc[1, "duplicate_of"] = 5
    found = verdicts_of(tmp_path, scene, prompts, repeated.reset_index())
    assert found.accepted[1]
    assert "coarse outline" in found.reason[5]


def test_a_lost_model_does_not_make_the_whole_field_ignored(tmp_path, scene, answered):
    prompts, masks = answered
    masks = replaced(masks, 1, np.ones(SHAPE, bool))
    found = verdicts_of(tmp_path, scene, prompts, masks)
    assert "beyond any single nucleus" in found.reason[1]
    ignore = outputs(tmp_path)[1]["ignore"] > 0
    assert ignore[scene.masks["disc"]].all()
    assert not ignore[70:110, :80].any()


def test_painting_hides_the_refused_behind_background(tmp_path, scene, coarse):
    write_field(tmp_path, scene.counts, prompts_of(scene.masks))
    written = []
    for seed in (1, 1, 2):
        more = ["--from", "coarse", "--refused", "paint", "--seed", seed]
        assert run_script(tmp_path, *more).returncode == 0
        written.append(result_bytes(tmp_path)[0])
    assert written[0] == written[1] != written[2]
    _, planes = outputs(tmp_path)
    covered = outputs(coarse[0])[1]["ignore"] > 0
    assert not planes["ignore"].any()
    assert planes["painted"].dtype == scene.counts.dtype
    assert np.array_equal(planes["painted"][~covered], scene.counts[~covered])
    # noise of mean 4 and deviation 4, clipped at 0, and the skirts of the haze
    drawn = planes["painted"][covered]
    assert drawn.max() < 400
    assert 2 < drawn.mean() < 30
    assert np.percentile(drawn, 10) < 4 < np.percentile(drawn, 75) < 30


@pytest.mark.parametrize("diameter", [DIAMETER, None])
def test_nothing_to_accept_is_a_result(tmp_path, diameter):
    dim = {"dim": ellipse((60, 50), (30, 25), (12, 12))} if diameter else {}
    counts = np.random.default_rng(0).poisson(5, (60, 50)).astype(np.uint16)
    prompts = prompts_of(dim) if dim else pd.DataFrame(columns=list(PROMPTS))
    write_field(tmp_path, counts, prompts, diameter=diameter)
    done = run_script(tmp_path, "--from", "coarse", "--refused", "paint")
    assert done.returncode == 0, done.stderr
    assert f"WARNING no pseudo-label: none of {len(dim)} candidates was accepted" in done.stderr
    verdicts, planes = outputs(tmp_path)
    assert len(verdicts) == len(dim)
    assert list(verdicts.columns) == list(COLUMNS)
    assert not planes["labels"].any()
    assert planes["painted"].shape == counts.shape
    assert Image.open(tmp_path / "labels.png").size == (50, 60)


@pytest.mark.parametrize("fault", ["no masks", "masks of other prompts"])
def test_a_mistake_is_one_line(tmp_path, scene, answered, fault):
    prompts, masks = answered
    write_field(tmp_path, scene.counts, prompts, masks.iloc[1:])
    more = [] if fault == "no masks" else ["--masks", tmp_path / "masks.parquet"]
    done = run_script(tmp_path, *more)
    assert done.returncode == 2
    assert done.stderr.strip().splitlines()[-1].startswith("error: --masks")
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "labels.zarr.zip").exists()


def test_every_source_can_be_asked_for():
    done = subprocess.run(
        [sys.executable, SCRIPT, "--help"], check=True, capture_output=True, text=True
    )
    assert "{" + ",".join(choices.SOURCES) + "}" in done.stdout
    assert set(choices.SOURCES) == set(SOURCES)


# ---------------------------------------------------------------- the parts


def test_quality_is_that_of_the_weakest_check():
    perfect = {check.measure: check.strict for check in CHECKS} | {"relative_area": 1.0}
    made = pd.DataFrame([perfect] * 4)
    made.loc[1, "contrast"] = (0.6 + 0.4) / 2  # half way between the limits
    made.loc[2, "shape_neck"] = 0.3  # beyond the lenient one
    made.loc[3, ["agreement", "predicted_iou", "stability"]] = np.nan
    assert quality(made) == pytest.approx([1.0, 0.5, -1.0, 1.0])
    said = complaints(made)
    assert said[0] == said[3] == ""
    assert said[1] == "in glare or haze: contrast to its surroundings 0.5, at least 0.6"
    assert "depth of the neck 0.3, at most 0.06" in said[2]


def test_what_is_ignored_does_not_depend_on_the_cut():
    rng = np.random.default_rng(0)
    seeds = rng.random((150, 150))
    labels = ndimage.label(ndimage.grey_dilation(seeds > 0.998, 13))[0].astype(np.uint32)
    refused = ndimage.grey_dilation(rng.random((150, 150)) > 0.9995, 11) > 0
    bright = ndimage.gaussian_filter(rng.random((150, 150)), 3) > 0.51
    whole = ignored(Region(labels, refused, bright), DIAMETER)
    assert 0.05 < whole.mean() < 0.9
    margin = halo(DIAMETER)
    padded = np.s_[60 - margin : 100 + margin, 55 - margin : 95 + margin]
    piece = ignored(Region(labels[padded], refused[padded], bright[padded]), DIAMETER)
    assert np.array_equal(piece[margin:-margin, margin:-margin], whole[60:100, 55:95])


def test_a_field_without_background_is_painted_with_what_background_was_set_to():
    counts = np.full((4, 4), 50, np.uint16)
    covered = np.eye(4, dtype=bool)
    painted = paint(counts, covered, np.zeros(0, np.uint16), np.random.default_rng(0))
    assert (painted == np.where(covered, 0, 50)).all()
