"""The default anomaly method through the scripts that learn a reference and score."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
from reference_runs import (
    OUTPUTS,
    SCRIPTS,
    build_arguments,
    call,
    row,
    score_arguments,
    write_field,
)
from synthetic import write_manifest

import build_reference
import score_anomaly
from cellsieve.anomaly.reference_files import MODEL, NETWORK
from cellsieve.tables import read_table

SHIPPED = SCRIPTS.parent / "resources" / "outlier_exposure.safetensors"


@pytest.fixture(scope="module")
def fields(tmp_path_factory):
    """Two fields of normal nuclei."""
    folder = tmp_path_factory.mktemp("fields")
    for seed, name in enumerate(("n1", "n2"), start=1):
        write_field(folder / name, seed, 80)
    return folder


@pytest.fixture(scope="module")
def rows(fields):
    return [row(fields / "n1", "s1"), row(fields / "n2", "s2")]


@pytest.fixture(scope="module")
def exposed(rows, tmp_path_factory):
    """A model of the default method."""
    folder = tmp_path_factory.mktemp("exposed")
    build_reference.main([*build_arguments(folder, rows), *exposure(folder)])
    return folder


def exposure(folder, network=SHIPPED, method="outlier_exposure"):
    command = ["--method", method, "--network", network, "--threads", 1]
    return [str(part) for part in [*command, "--network-copy", folder / NETWORK]]


def test_outlier_exposure_scores_and_gives_the_same_bytes_again(fields, rows, exposed, tmp_path):
    build_reference.main([*build_arguments(tmp_path, rows), *exposure(tmp_path)])
    for file in [*MODEL, NETWORK]:
        assert (tmp_path / file).read_bytes() == (exposed / file).read_bytes(), file
    written = []
    for _ in range(2):
        score_anomaly.main(score_arguments(fields / "n1", exposed))
        written.append((fields / "n1" / OUTPUTS[0]).read_bytes())
    assert written[0] == written[1]
    found = read_table(fields / "n1" / OUTPUTS[0])
    assert found[["anomaly_crop", "anomaly_score", "anomaly_p"]].notna().all(axis=None)


def test_given_nuclei_of_a_field_that_seemed_empty_are_scored_alike(fields, exposed, tmp_path):
    """The survey saw no nucleus: how bright one is, the nuclei themselves must say."""
    score_anomaly.main(score_arguments(fields / "n1", exposed))
    known = read_table(fields / "n1" / OUTPUTS[0])["anomaly_crop"]
    unseen = tmp_path / "n1"
    shutil.copytree(fields / "n1", unseen)
    qc = json.loads((unseen / "qc.json").read_text())
    (unseen / "qc.json").write_text(json.dumps(qc | {"nuclear_intensity": None}))
    score_anomaly.main(score_arguments(unseen, exposed))
    found = read_table(unseen / OUTPUTS[0])["anomaly_crop"]
    assert found.to_numpy() == pytest.approx(known.to_numpy(), abs=0.02)


@pytest.mark.parametrize(
    ("method", "complaint"),
    [
        ("network", "weights of outlier_exposure, but a network that embeds nuclei is asked"),
        ("signs", "--network and --network-copy go together"),
    ],
)
def test_a_network_of_another_method_is_refused(rows, tmp_path, method, complaint):
    command = [*build_arguments(tmp_path, rows), *exposure(tmp_path, method=method)]
    done = call("build_reference", command)
    assert done.returncode == 2
    assert complaint in done.stderr
    assert "Traceback" not in done.stderr


def test_too_few_nuclei_are_not_scored_by_outlier_exposure_either(fields, rows, tmp_path):
    chosen = tmp_path / "few.tsv"
    chosen.write_text("cell\n3\n", encoding="utf-8")
    few = [rows[0] | {"reference_nuclei": chosen}]
    build_reference.main([*build_arguments(tmp_path / "m", few), *exposure(tmp_path / "m")])
    score_anomaly.main(score_arguments(fields / "n1", tmp_path / "m"))
    assert read_table(fields / "n1" / OUTPUTS[0])["anomaly_score"].isna().all()


def test_the_benchmark_compares_it_with_another_method(rows, tmp_path):
    """Large nuclei of a third field are the abnormal ones."""
    labels = write_field(tmp_path / "t", 7, 60, large=6)
    shutil.copy(tmp_path / "t" / "nuclei.tif", tmp_path / "t.labels.tif")
    cells = np.unique(labels[labels > 0])
    kinds = np.where(cells > 1000, "abnormal", "normal")
    pd.DataFrame({"label": cells, "class": kinds}).to_csv(
        tmp_path / "t.cells.tsv", sep="\t", index=False
    )
    learned = [{**known, "reference": "yes", "truth": ""} for known in rows]
    tested = row(tmp_path / "t", "s3", reference="no", truth=tmp_path / "t.labels.tif")
    write_manifest(tmp_path / "run.tsv", [*learned, tested])
    for method, start in (("outlier_exposure", ["--start", SHIPPED]), ("features", [])):
        files = ["--scores", tmp_path / f"{method}.parquet"]
        files += ["--record", tmp_path / f"{method}.json"]
        command = ["--fields", tmp_path / "run.tsv", "--method", method, *start, "--threads", 1]
        done = call("benchmark_anomaly_method", [*command, *files, "--checkpoint", tmp_path / "c"])
        assert done.returncode == 0, done.stderr
    methods = ("outlier_exposure", "features")
    command = ["--scores", *(tmp_path / f"{m}.parquet" for m in methods)]
    command += ["--records", *(tmp_path / f"{m}.json" for m in methods)]
    done = call("benchmark_anomaly", [*command, "--table", tmp_path / "anomaly.csv"])
    assert done.returncode == 0, done.stderr
    table = pd.read_csv(tmp_path / "anomaly.csv")
    joined = table[table["view"] == "joined"].set_index("method")
    assert joined.index.tolist() == list(methods)
    assert (joined["roc_auc"] > 0.95).all()
    assert joined["roc_auc_gain"].notna().tolist() == [True, False]
