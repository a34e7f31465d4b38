"""The anomaly networks by their scripts: fitted, gone on with, frozen, refused."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import timm
import torch
from reference_runs import OUTPUTS, build_arguments, call, row, score_arguments, write_field
from safetensors.torch import save_file

from cellsieve.anomaly.reference_crops import cut_reference_crops
from cellsieve.anomaly_networks import fitting
from cellsieve.anomaly_networks.files import load_network, load_start, save_network
from cellsieve.anomaly_networks.fitting import Options, fit, fitted_network
from cellsieve.anomaly_networks.methods import METHODS, Batch
from cellsieve.anomaly_networks.networks import FAMILIES, Backbone
from cellsieve.errors import TrainingError, UserError
from cellsieve.manifest import read_manifest
from cellsieve.tables import read_table
from cellsieve.training.course import Course

FILES = ("weights.safetensors", "curve.csv", "record.json")
STEPS = 60  # a checkpoint is written after 50


@pytest.fixture(scope="module")
def fields(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fields")
    write_field(folder / "n1", 1, 80)
    write_field(folder / "n2", 2, 80)
    write_field(folder / "p", 3, 80, large=5)
    return folder


@pytest.fixture(scope="module")
def rows(fields):
    return [row(fields / "n1", "s1"), row(fields / "n2", "s2")]


def fit_arguments(folder, rows, *more, steps=STEPS):
    folder.mkdir(exist_ok=True)
    build_arguments(folder, rows)  # writes the manifest
    command = [
        "--fields",
        folder / "fields.tsv",
        "--backbone",
        "test_efficientnet",
        "--steps",
        steps,
    ]
    command += [
        "--threads",
        1,
        "--checkpoint",
        folder / "checkpoint.pt",
        "--picture",
        folder / "curve.png",
    ]
    for file in FILES:
        command += [f"--{file.split('.')[0]}", folder / file]
    return [str(part) for part in [*command, *more]]


@pytest.fixture(scope="module")
def fitted(tmp_path_factory, rows):
    folder = tmp_path_factory.mktemp("fitted")
    done = call("fit_anomaly", fit_arguments(folder, rows, "--method", "cutpaste_3way"))
    assert done.returncode == 0, done.stderr
    return folder


def test_a_fitted_network_describes_the_reference_and_scores(fields, rows, fitted, tmp_path):
    model = tmp_path / "model"
    more = ["--method", "network", "--network", fitted / FILES[0]]
    more += ["--network-copy", model / "network.safetensors"]
    done = call("build_reference", build_arguments(model, rows, *more))
    assert done.returncode == 0, done.stderr
    bank = pd.read_parquet(model / "bank.parquet")
    vectors = bank[[name for name in bank if name.startswith("e_")]].to_numpy()
    assert vectors.shape[1] == 256
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-5)
    done = call("score_anomaly", score_arguments(fields / "p", model))
    assert done.returncode == 0, done.stderr
    table = read_table(fields / "p" / OUTPUTS[0])
    # sums of two squared distances of unit vectors
    assert table["anomaly_crop"].between(0, 8).all()
    assert table["anomaly_p"].between(0, 1).all()
    large = table["cell"] > 1000
    assert table["anomaly_crop"][large].median() > table["anomaly_crop"][~large].median()


def test_calibration_nuclei_are_not_learned_from(rows, fitted, tmp_path):
    record = json.loads((fitted / "record.json").read_text())
    model = tmp_path / "model"
    assert call("build_reference", build_arguments(model, rows)).returncode == 0
    assert record["nuclei"] == len(pd.read_parquet(model / "bank.parquet"))


def test_a_fit_that_is_gone_on_with_ends_with_the_same_bytes(rows, fitted, tmp_path):
    """The second half is taken from the checkpoint that a killed job left behind."""
    arguments = fit_arguments(tmp_path / "again", rows, "--method", "cutpaste_3way")
    listed = read_manifest(tmp_path / "again" / "fields.tsv", ["field"])
    for one in listed:
        one["quality"] = json.loads(Path(one["qc"]).read_text())
    crops = cut_reference_crops(listed, 0)
    torch.set_num_threads(1)

    def die(curve):
        raise KeyboardInterrupt

    plan = Options("cutpaste_3way", "test_efficientnet", STEPS, 0, "cpu")
    with pytest.raises(KeyboardInterrupt):
        fitting.fit(crops, None, plan, tmp_path / "again" / "checkpoint.pt", die)
    done = call("fit_anomaly", arguments)
    assert done.returncode == 0, done.stderr
    assert "goes on from step 50" in done.stderr
    assert (tmp_path / "again" / FILES[0]).read_bytes() == (fitted / FILES[0]).read_bytes()


@pytest.mark.parametrize("family", [*FAMILIES, "test_vit"])
def test_a_network_survives_its_file(family, tmp_path):
    torch.manual_seed(0)
    network = METHODS["tmscl"].build(Backbone(family))
    save_network(tmp_path / "w.safetensors", network.state_dict(), "tmscl", family)
    crops = np.random.default_rng(0).random((3, 2, 64, 64)).astype(np.float16)
    loaded = load_network(tmp_path / "w.safetensors", "cpu")
    with torch.inference_mode():
        expected = network.eval()(torch.from_numpy(crops).float())
    assert loaded.describe(crops).to_numpy() == pytest.approx(expected.numpy(), abs=1e-6)


def test_wrong_weights_are_refused_in_one_line(rows, fitted, tmp_path):
    start = ["--start", fitted / FILES[0]]
    arguments = fit_arguments(tmp_path / "other", rows, "--method", "msc", *start)
    arguments[arguments.index("test_efficientnet")] = "regnet"
    done = call("fit_anomaly", arguments)
    assert done.returncode == 2
    assert (
        done.stderr.strip()
        .splitlines()[-1]
        .endswith("weights of test_efficientnet, but regnet is asked for")
    )
    (tmp_path / "bad.safetensors").write_bytes(b"no weights")
    with pytest.raises(UserError, match="not a safetensors file"):
        load_network(tmp_path / "bad.safetensors", "cpu")


def test_too_few_nuclei_leave_scores_empty_with_the_reason(fields, rows, tmp_path):
    (tmp_path / "list.tsv").write_text("\n".join(map(str, range(1, 13))))
    few = [rows[0] | {"reference_nuclei": tmp_path / "list.tsv"}]
    done = call("fit_anomaly", fit_arguments(tmp_path / "fit", few, "--method", "msc"))
    assert done.returncode == 0, done.stderr
    assert "normal nuclei: nothing is learned" in done.stderr
    model = tmp_path / "model"
    more = ["--method", "network", "--network", tmp_path / "fit" / FILES[0]]
    more += ["--network-copy", model / "network.safetensors"]
    done = call("build_reference", build_arguments(model, few, *more))
    assert done.returncode == 0, done.stderr
    assert "at least 40 are needed" in json.loads((model / "record.json").read_text())["notes"][0]
    assert call("score_anomaly", score_arguments(fields / "n2", model)).returncode == 0
    table = read_table(fields / "n2" / OUTPUTS[0])
    assert len(table) > 20
    assert table.drop(columns="cell").isna().all(axis=None)


def test_a_network_that_collapses_is_stopped(tmp_path, monkeypatch, caplog):
    """With nothing but the pull towards one point all nuclei become the same."""

    def pull(network, batch):
        z = network(batch.crops)
        return 100 * (z - z[:1].detach()).square().mean(), 0.0

    def views(crops, generator):
        return Batch(crops, torch.zeros(len(crops)))

    monkeypatch.setitem(METHODS, "msc", METHODS["msc"]._replace(draw=views, loss=pull))
    monkeypatch.setattr(fitting, "_RATE", 0.03)
    crops = np.random.default_rng(0).random((60, 2, 64, 64)).astype(np.float16)
    plan = Options("msc", "test_efficientnet", 100, 0, "cpu")
    with pytest.raises(TrainingError, match="diverged"):
        fit(crops, None, plan, tmp_path / "c.pt", lambda rows: None)
    assert "collapses" in caplog.text


def test_a_network_that_learned_nothing_has_no_score_of_its_own():
    module = METHODS["fpi"].build(Backbone("resnet"))
    crops = np.random.default_rng(0).random((3, 2, 64, 64), np.float32)
    for step, told in ((0, False), (50, True)):
        network = fitted_network("fpi", module, Course([], module.state_dict(), step, 0.5, False))
        assert ("pretext" in network._replace(scored=True).describe(crops)) == told


def test_the_backbone_that_ships_is_the_one_of_its_record():
    file = Path(__file__).parents[1] / "resources" / "backbones" / "vit.safetensors"
    record = json.loads(file.with_suffix(".json").read_text(encoding="utf-8"))
    assert record["weights_sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    Backbone("vit").load_state_dict(load_start(file, "vit"))
    assert file.stat().st_size < 30e6


@pytest.mark.parametrize("name", ["test_vit", "test_efficientnet"])
def test_weights_of_timm_begin_a_fit(name, tmp_path):
    """As they are downloaded: with a classifier, a transformer for larger pictures."""
    torch.manual_seed(0)
    whole = timm.create_model(name)
    save_file(whole.state_dict(), tmp_path / "timm.safetensors")
    start = load_start(tmp_path / "timm.safetensors", name)
    backbone = Backbone(name)
    backbone.load_state_dict(start)
    known = dict(whole.named_parameters())
    same = [
        torch.equal(value, known[key])
        for key, value in backbone.body.named_parameters()
        if value.shape == known[key].shape
    ]
    assert all(same)
    assert len(same) > len(known) - 8  # but for classifier, last norm, patches and places
    (tmp_path / "other.safetensors").write_bytes((tmp_path / "timm.safetensors").read_bytes())
    with pytest.raises(UserError, match=r"not weights of resnet|timm cannot make it"):
        load_start(tmp_path / "other.safetensors", "resnet")
