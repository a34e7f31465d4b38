"""Training fields in the workflow: labels of them alone, and a segmenter that learns from them."""

import json
import shutil

import numpy as np
import pytest
from checkout import NORMAL, PATIENT, Checkout, draw, make_checkout, write_field

from cellsieve.segmenters import save_segmenter
from cellsieve.stores import open_zip
from cellsieve.tables import read_notes, read_table

STAGES = ("prompts", "segment_sam", "segment_cellpose", "pseudo_labels", "finetune")
LABELLING = {f"{stage} normal" for stage in ("prompts", "segment_sam", "pseudo_labels")}
LABELS = "results/fields/normal/pseudo_labels.zarr.zip"


@pytest.fixture(scope="module")
def laboratory(tmp_path_factory):
    """One field to learn from and one that is only scored."""
    made = make_checkout(tmp_path_factory.mktemp("training") / "checkout")
    for seed, row in enumerate((NORMAL, PATIENT)):
        write_field(made.folder / "in" / row["image"], draw(seed))
    made.write_sheet({**NORMAL, "train": "yes"}, PATIENT)
    made.configure(segmenter="{method: votes, steps: 2}")
    return made


def planned(made, *args):
    return {name for name in made.plan(*args) if name.split()[0] in (*STAGES, "fetch_weights")}


def test_only_training_fields_are_labelled(laboratory):
    assert planned(laboratory) == {*LABELLING, "finetune"}


@pytest.mark.parametrize(
    "segmenter",
    ["{method: coarse}", "{weights: resources/segmenters/votes.safetensors}"],
)
def test_a_segmenter_that_learns_nothing_needs_no_labels(laboratory, segmenter):
    assert planned(laboratory, "--config", f"segmenter={segmenter}") == set()


def test_a_field_with_given_nuclei_is_not_labelled(laboratory):
    shutil.copy(laboratory.folder / "in" / NORMAL["image"], laboratory.folder / "in/given.tif")
    laboratory.write_sheet({**NORMAL, "train": "yes", "nuclei": "given.tif"}, PATIENT)
    try:
        assert planned(laboratory) == set()
    finally:
        laboratory.write_sheet({**NORMAL, "train": "yes"}, PATIENT)


def test_without_a_promptable_model(laboratory):
    plan = planned(laboratory, "--config", "pseudo_labels={from: coarse}")
    assert plan == {"prompts normal", "pseudo_labels normal", "finetune"}


def test_from_cellpose(laboratory):
    pseudo_labels = "pseudo_labels={from: cellpose}"
    done = laboratory.run("--dry-run", "--config", pseudo_labels, check=False)
    assert "there is no file resources/weights/nucleitorch_0" in done.stdout
    model = laboratory.folder / "resources/weights/nucleitorch_0"
    model.parent.mkdir()
    model.write_bytes(b"a model")
    plan = planned(laboratory, "--config", pseudo_labels)
    shutil.rmtree(model.parent)
    assert plan == {*LABELLING - {"segment_sam normal"}, "segment_cellpose normal", "finetune"}


@pytest.mark.parametrize(
    ("segmenter", "message"),
    [
        ("{weights: nothing.safetensors}", "segmenter.weights: nothing.safetensors: no such file"),
        ("{weights: config.yaml}", "segmenter.weights: config.yaml: not a safetensors file"),
        ("{method: maskrcnn, network: narrow}", "segmenter.network is 'narrow', but segmenter"),
        (
            "{method: maskrcnn, network: resnet50, weights: light.safetensors}",
            "segmenter.network is 'resnet50', but segmenter.weights are of 'light'; allowed: null",
        ),
        ("{method: stardist}", "segmenter.method is 'stardist'; allowed: votes, maskrcnn"),
    ],
)
def test_impossible_segmenters_stop_before_any_job(laboratory, segmenter, message):
    notes = {"backbone": "light"}
    save_segmenter(laboratory.folder / "light.safetensors", {}, "maskrcnn", notes)
    done = laboratory.run("--cores", 1, "--config", f"segmenter={segmenter}", check=False)
    assert done.returncode
    assert message in done.stdout


def test_damaged_weights_that_ship_stop_before_any_job(laboratory):
    weights = laboratory.folder / "resources/segmenters/votes.safetensors"
    whole = weights.read_bytes()
    weights.unlink()  # it may be a link
    weights.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    done = laboratory.run("--dry-run", check=False)
    weights.write_bytes(whole)
    assert done.returncode
    assert "votes.safetensors is another file or damaged" in done.stdout


def test_an_engine_without_weights_needs_something_to_learn_from(laboratory):
    laboratory.write_sheet(NORMAL, PATIENT)
    done = laboratory.run("--dry-run", "--config", "segmenter={method: cellpose}", check=False)
    laboratory.write_sheet({**NORMAL, "train": "yes"}, PATIENT)
    assert "segmenter.method is 'cellpose', which ships without weights" in done.stdout


def test_weights_that_are_not_there_are_fetched_first(laboratory):
    plan = planned(laboratory, "--config", "sam={model: sam_vit_b}")
    assert "fetch_weights sam_vit_b_01ec64.pth" in plan


def test_an_unknown_model_stops_before_any_job(laboratory):
    done = laboratory.run("--cores", 1, "--config", "sam={model: huge}", check=False)
    assert done.returncode
    assert "error: model 'huge': neither a file nor one of sam_vit_b" in done.stdout


def test_unknown_kinds_of_prompts_are_refused(laboratory):
    done = laboratory.run("--cores", 1, "--config", "sam={kinds: 'box,circle'}", check=False)
    assert "configuration: sam.kinds is 'box,circle'; allowed: point, box or" in done.stdout


def test_a_field_is_labelled_by_the_model_that_ships(laboratory):
    laboratory.run("--cores", 2, LABELS)
    folder = laboratory.results / "fields/normal"
    with open_zip(folder / "pseudo_labels.zarr.zip") as store:
        labels, ignore = (np.asarray(store[name][:]) for name in ("labels", "ignore"))
    table = read_table(folder / "pseudo_labels.parquet")
    accepted = table[table["accepted"]]
    assert len(accepted) > 10
    assert sorted(accepted["label"]) == list(np.unique(labels)[1:])
    assert not (ignore[labels > 0]).any()
    assert (table.loc[~table["accepted"], "reason"] != "").all()
    (note,) = read_notes(folder / "sam_masks.parquet")
    assert note.startswith("outlined by small_sam.safetensors@")
    assert {path.name for path in folder.glob("*.png")} == {
        "prompts.png", "sam_masks.png", "pseudo_labels.png"
    }  # fmt: skip
    assert laboratory.run("--dry-run", LABELS).stdout.count("rule ") == 0


def test_the_report_shows_the_labels_of_training_fields_alone(laboratory):
    laboratory.run("--cores", 2)
    record = json.loads((laboratory.results / "models/segmenter/record.json").read_text())
    assert record["fields"] == 1
    page = (laboratory.results / "report/index.html").read_text(encoding="utf-8")
    assert page.count('alt="Training labels of field') == 1
    assert 'alt="Training labels of field normal"' in page


def test_a_finished_run_may_be_moved(laboratory, tmp_path):
    laboratory.run("--cores", 2, LABELS)
    shutil.copytree(laboratory.folder, tmp_path / "moved", symlinks=True)
    moved = Checkout(tmp_path / "moved")
    assert planned(moved, LABELS) == set()


def test_other_threads_run_the_model_again(laboratory):
    assert planned(laboratory, "--config", "threads=3", "--", LABELS) == {
        "segment_sam normal",
        "pseudo_labels normal",
    }


def test_another_training_field_trains_again_and_another_field_does_not(laboratory):
    plan = planned(laboratory)
    assert plan == set()
    laboratory.write_sheet({**NORMAL, "train": "yes"}, PATIENT, {**PATIENT, "field": "third"})
    assert planned(laboratory) == set()
    laboratory.write_sheet({**NORMAL, "train": "yes"}, {**PATIENT, "train": "yes"})
    plan = planned(laboratory)
    laboratory.write_sheet({**NORMAL, "train": "yes"}, PATIENT)
    assert plan == {f"{stage} patient" for stage in STAGES[:2]} | {
        "pseudo_labels patient",
        "finetune",
    }
