"""The network that has seen simulated abnormal nuclei: what it sees, learns and adds to a score."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import roc_auc_score

from cellsieve.anomaly.reference import Bank, prepare_bank
from cellsieve.anomaly.signs import fit_signs
from cellsieve.anomaly_networks.files import load_network, save_network
from cellsieve.anomaly_networks.outlier_network import DIAMETER, OutlierNetwork, OutlierScorer
from cellsieve.choices import OUTLIER_EXPOSURE
from cellsieve.errors import UserError
from cellsieve.provenance import file_sha256
from cellsieve.simulation.cases import draw_cases
from cellsieve.training.outlier_network import seen_anew

ROOT = Path(__file__).parents[1]
SHIPPED = ROOT / "resources" / f"{OUTLIER_EXPOSURE}.safetensors"


@pytest.fixture(scope="module")
def cases():
    return draw_cases(987, 3, 2, DIAMETER)


@pytest.fixture(scope="module")
def shipped():
    return load_network(SHIPPED, "cpu")


def test_cases_do_not_depend_on_the_processes(cases):
    again = draw_cases(987, 3, 1, DIAMETER)
    assert np.array_equal(again.crops, cases.crops)
    assert np.array_equal(again.abnormal, cases.abnormal)


def test_cases_are_whole_nuclei_of_about_the_diameter_asked_for(cases):
    assert len(cases.crops) == len(cases.abnormal) > 50
    assert 0.15 < cases.abnormal.mean() < 0.45
    own = cases.crops[:, 1].astype(np.float32)
    across = 2 * np.sqrt(own[~cases.abnormal].sum((1, 2)) / np.pi)
    assert np.median(across) == pytest.approx(DIAMETER, rel=0.15)
    # nuclei lie in the middle: few are so long that the crop's border cuts them
    middle = np.argwhere(own)[:, 1:].mean(0)
    assert middle == pytest.approx((own.shape[1] - 1) / 2, abs=1)
    assert (own[:, [0, -1]].any((1, 2)) | own[:, :, [0, -1]].any((1, 2))).mean() < 0.1


def test_the_network_that_ships_tells_simulated_nuclei_it_has_not_seen(cases, shipped):
    assert roc_auc_score(cases.abnormal, shipped.describe(cases.crops)["outlier"]) > 0.92


def test_the_network_that_ships_is_the_one_of_its_record():
    record = json.loads(SHIPPED.with_suffix(".json").read_text(encoding="utf-8"))
    assert file_sha256(SHIPPED) == record["weights_sha256"]


def test_stain_and_exposure_give_nothing_away(cases, shipped):
    brighter = cases.crops.copy()
    brighter[:, 0] *= 4  # a power of two: exact in half precision
    seen, same = (shipped.describe(c)["outlier"] for c in (cases.crops, brighter))
    assert same.to_numpy() == pytest.approx(seen.to_numpy(), abs=1e-3)


def test_an_outline_drawn_anew_is_about_the_old_one(cases):
    crops = torch.from_numpy(cases.crops[:40]).float()
    anew = seen_anew(crops, torch.Generator().manual_seed(0))
    area, before = (c[:, 1].sum((1, 2)) for c in (anew, crops))
    assert ((area / before - 1).abs() < 0.15).all()
    assert set(anew[:, 1].unique().tolist()) == {0.0, 1.0}


def table(features, outlier, first=0):
    frame = pd.DataFrame(features, columns=["f_a", "f_b"])
    frame.insert(0, "id", [f"a:{first + i}" for i in range(len(frame))])
    return frame.assign(specks=0.0, outlier=outlier)


def test_both_views_are_added_up_in_deviations_of_the_bank():
    random = np.random.default_rng(0)
    known = table(random.normal(size=(200, 2)), random.normal(3, 2, 200))
    signs = fit_signs(known[["f_a", "f_b"]], {})
    asked = table([[0, 0], [0, 0], [3, 3]], [3, 13, 3], first=1000)
    crop = Bank(prepare_bank(known)[0], signs).score(asked).crop
    own = signs.log_odds(known[["f_a", "f_b"]].to_numpy(), np.arange(200))
    odds = signs.log_odds(asked[["f_a", "f_b"]].to_numpy(float), np.full(3, -1))
    expected = (odds - np.median(own)) / own.std()
    expected += (asked["outlier"] - known["outlier"].median()) / known["outlier"].std(ddof=0)
    assert crop == pytest.approx(expected.to_numpy())
    assert crop[1] - crop[0] == pytest.approx(10 / known["outlier"].std(ddof=0))


def test_weights_survive_their_file_and_others_are_refused(tmp_path, cases):
    torch.manual_seed(0)
    network = OutlierNetwork().eval()
    save_network(tmp_path / "w.safetensors", network.state_dict(), OUTLIER_EXPOSURE)
    loaded = load_network(tmp_path / "w.safetensors", "cpu").describe(cases.crops[:8])
    expected = OutlierScorer(network).describe(cases.crops[:8])
    pd.testing.assert_frame_equal(loaded, expected)
    state = network.state_dict()
    state.pop("head.0.weight")
    save_network(tmp_path / "less.safetensors", state, OUTLIER_EXPOSURE)
    with pytest.raises(UserError, match="not the weights that outlier_exposure needs"):
        load_network(tmp_path / "less.safetensors", "cpu")


def test_the_training_runs_and_refuses_the_checkpoint_of_another(tmp_path):
    def train(folder, steps):
        folder.mkdir(exist_ok=True)
        names = {"checkpoint": "pt", "weights": "safetensors", "curve": "csv", "picture": "png"}
        files = [f"--{name}={folder / f'{name}.{end}'}" for name, end in names.items()]
        options = ["--scenes=2", "--seed=5", f"--steps={steps}", f"--record={folder / 'r.json'}"]
        script = ROOT / "scripts" / "train_outlier_network.py"
        command = [sys.executable, script, *options, *files]
        return subprocess.run(command, check=False, capture_output=True, text=True)

    whole = train(tmp_path / "whole", 2)
    assert whole.returncode == 0, whole.stderr
    record = json.loads((tmp_path / "whole" / "r.json").read_text())
    assert record["weights_sha256"] == file_sha256(tmp_path / "whole" / "weights.safetensors")
    other = train(tmp_path / "whole", 3)
    assert other.returncode == 2
    assert "is of a training with" in other.stderr
    assert "Traceback" not in other.stderr
