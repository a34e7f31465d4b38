"""The benchmark of segmentation: figures by hand, folds, what is shown, the command lines."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
import torch
import zarr
from PIL import Image
from synthetic import PEAK, draw_field, write_manifest, write_stage

import benchmark_method
import benchmark_segmentation
from cellsieve.benchmarks.choices import METHODS, NO_WEIGHTS
from cellsieve.benchmarks.methods import Field, load_method
from cellsieve.benchmarks.page import render
from cellsieve.benchmarks.picture import densest_crop, middle_field
from cellsieve.benchmarks.segmentation_benchmark import COLUMNS, FIGURES
from cellsieve.errors import UserError
from cellsieve.folds import fold_of
from cellsieve.pictures import OUTLINE
from cellsieve.segmenters import save_failure, save_segmenter
from cellsieve.segmenters.vote_network import VoteNetwork
from cellsieve.stores import add_plane, create_zip, open_labels, open_zip

ROOT = Path(__file__).parents[1]
SMALL = ROOT / "resources" / "small_sam.safetensors"
SHAPES = {"a": (40, 60), "b": (50, 50)}


def squares(shape, *corners):
    """Squares of 10 px, numbered from 1."""
    labels = np.zeros(shape, np.uint32)
    for label, (y, x) in enumerate(corners, 1):
        labels[y : y + 10, x : x + 10] = label
    return labels


def write_result(folder, method, planes, note="", seconds=(1.0, 3.0)):
    """Write what benchmark_method.py would have."""
    with create_zip(folder / f"{method}.zarr.zip") as store:
        store.attrs.update({"method": method, "network": "net", "device": "cpu", "note": note})
        for name, labels in planes.items():
            add_plane(store, name, labels.shape, np.uint32)[:] = labels
    rows = [(n, s, *p.shape) for (n, p), s in zip(planes.items(), seconds, strict=False)]
    table = pd.DataFrame(rows, columns=benchmark_method.COLUMNS)
    table.to_csv(folder / f"{method}.csv", index=False)


def arguments(folder, *methods):
    inputs = [f"{folder}/{m}.zarr.zip" for m in methods], [f"{folder}/{m}.csv" for m in methods]
    outputs = ["--table", "t.csv", "--fields-table", "f.csv", "--picture", "p.png"]
    outputs = [f"{folder}/{part}" if "." in part else part for part in outputs]
    start = ["--fields", f"{folder}/manifest.tsv", "--labels", *inputs[0], "--times", *inputs[1]]
    return [*start, *outputs, "--page", f"{folder}/index.html"]


@pytest.fixture
def stage(tmp_path):
    """Two fields with a truth and one without."""
    truth = {"a": squares(SHAPES["a"], (0, 0), (20, 20)), "b": squares(SHAPES["b"], (30, 30))}
    rows = []
    for name, labels in truth.items():
        write_stage(tmp_path / name, 500 * (labels > 0), labels)
        paths = {"truth": "nuclei.tif", "dapi": "dapi.zarr.zip", "qc": "qc.json"}
        rows.append({"field": name, **{k: tmp_path / name / v for k, v in paths.items()}})
    write_manifest(tmp_path / "manifest.tsv", [*rows, {"field": "unknown", "dapi": "x"}])
    return tmp_path


def test_figures_by_hand(stage):
    # of field a the second nucleus is found half a side too low (IoU 1/3), field b is exact
    found = {"a": squares(SHAPES["a"], (0, 0), (25, 20)), "b": squares(SHAPES["b"], (30, 30))}
    write_result(stage, "watershed", found)
    write_result(stage, "cellpose_downloaded", {}, NO_WEIGHTS)
    benchmark_segmentation.main(arguments(stage, "watershed", "cellpose_downloaded"))

    table = pd.read_csv(stage / "t.csv", index_col="method")
    assert ["method", *table.columns] == list(COLUMNS)
    row = table.loc["watershed"]
    assert (row["fields"], row["nuclei"], row["network"]) == (2, 3, "net")
    means = {"dice": (0.75, 1), "aji": (0.6, 1), "ap50": (1 / 3, 1), "map": (1 / 3, 1)}
    for name, (worst, best) in means.items():
        ends = [row[name], row[f"{name}_low"], row[f"{name}_high"]]
        assert ends == pytest.approx([(worst + best) / 2, worst, best], rel=1e-5)
    # 2 hits of 3 true and 3 found; of field a alone 1 of 2 and 2
    pooled = [row["f1"], row["f1_low"], row["f1_high"]]
    assert pooled == pytest.approx([2 / 3, 1 / 2, 1], rel=1e-5)
    assert row["seconds_per_frame"] == 2
    assert row["seconds_per_megapixel"] == pytest.approx(4e6 / (2400 + 2500), rel=1e-5)
    assert pd.isna(row["note"])

    missing = table.loc["cellpose_downloaded"]
    assert missing["note"] == "weights not available"
    assert missing[["fields", "nuclei", *FIGURES, "seconds_per_frame"]].isna().all()

    fields = pd.read_csv(stage / "f.csv")
    assert fields[["method", "field"]].to_numpy().tolist() == [["watershed", n] for n in "ab"]
    assert fields["dice"].tolist() == pytest.approx([0.75, 1])


def test_picture_has_a_panel_a_method_and_two_more(stage):
    found = {name: squares(shape, (5, 5)) for name, shape in SHAPES.items()}
    for method in ("watershed", "votes", "maskrcnn"):
        write_result(stage, method, found)
    write_result(stage, "cellpose_downloaded", {}, NO_WEIGHTS)
    methods = ["watershed", "votes", "maskrcnn", "cellpose_downloaded"]
    benchmark_segmentation.main(arguments(stage, *methods))
    with Image.open(stage / "p.png") as stored:
        picture = np.asarray(stored)
    # field a, 40×60 px, eight times as large, with title and margin; four panels in a row
    height, width = 40 * 8 + 38, 60 * 8 + 8
    assert picture.shape == (2 * height, 4 * width, 3)
    yellow = (picture == OUTLINE).all(axis=-1)
    panels = yellow.reshape(2, height, 4, width).any(axis=(1, 3)).ravel().tolist()
    drawn = {"DAPI": False, "Truth": True, "watershed": True, "votes": True, "maskrcnn": True}
    assert panels == [*drawn.values(), False, False, False]


def test_page_needs_no_network_and_escapes_names():
    figures = {f"{name}{end}": 0.5 for name in FIGURES for end in ("", "_low", "_high")}
    known = {"method": "watershed", "network": "<i>n", "device": "cpu", "fields": 1, "nuclei": 7}
    known |= {"seconds_per_frame": 2.0, "seconds_per_megapixel": 12.345, "note": ""}
    missing = {"method": "cellpose_downloaded", "note": NO_WEIGHTS}
    table = pd.DataFrame([missing, known | figures], columns=list(COLUMNS))
    shown = {"field": "<script>x</script>", "y": 0, "x": 9, "height": 4, "width": 5}
    page = render(table, np.zeros((4, 5, 3), np.uint8), shown)
    assert "<script" not in page
    assert "<i>" not in page
    assert "Field &lt;script&gt;x" in page
    assert not re.findall(r'(?:src|href)="(?!data:)', page)
    assert page.count("50.0 (50.0–50.0)") == len(FIGURES)
    row = re.search(r"<tr><th[^>]*>Cellpose as downloaded.*?</tr>", page, re.S).group()
    assert NO_WEIGHTS in row
    assert ("74.71" in row, "21.64" in row) == (True, True)


def test_fields_without_nuclei_have_no_f1(stage):
    """Nothing to find and nothing found: other figures are 1, F1 and the intervals are missing."""
    empty = {name: np.zeros(shape, np.uint32) for name, shape in SHAPES.items()}
    for name, labels in empty.items():
        tifffile.imwrite(stage / name / "nuclei.tif", labels)
    write_result(stage, "watershed", empty)
    benchmark_segmentation.main(arguments(stage, "watershed"))
    (row,) = pd.read_csv(stage / "t.csv").to_dict("records")
    assert row["ap50"] == 1
    assert np.isnan(row["f1"])
    assert (stage / "index.html").read_text().count('<td class="n">–</td>') == 1


def test_a_truth_that_is_no_label_image_is_named(stage):
    write_result(stage, "watershed", {"a": squares(SHAPES["a"])})
    Image.new("L", (60, 40)).save(stage / "a" / "nuclei.tif", "PNG")
    with pytest.raises(UserError, match=r"a/nuclei\.tif: not a TIFF, as label images must be"):
        benchmark_segmentation.main(arguments(stage, "watershed"))


def test_methods_on_other_fields_are_refused(stage):
    found = {name: squares(shape, (5, 5)) for name, shape in SHAPES.items()}
    write_result(stage, "watershed", found)
    write_result(stage, "votes", {"a": found["a"]})
    with pytest.raises(UserError, match=r"votes\.zarr\.zip holds labels of other fields"):
        benchmark_segmentation.main(arguments(stage, "watershed", "votes"))
    write_result(stage, "votes", {}, NO_WEIGHTS)
    with pytest.raises(UserError, match="no labels to compare"):
        benchmark_segmentation.main(arguments(stage, "votes"))


def test_a_truth_of_another_size_is_named(stage):
    write_result(stage, "watershed", {"a": squares((40, 61), (5, 5))})
    with pytest.raises(UserError, match=r"field a: .*nuclei\.tif is uint32 of 40×60 px; .* 40×61"):
        benchmark_segmentation.main(arguments(stage, "watershed"))


def test_a_sheet_without_truth_is_refused(tmp_path):
    write_manifest(tmp_path / "m.tsv", [{"field": "a", "truth": "", "dapi": "x", "qc": "y"}])
    more = ["--method", "watershed", "--labels", tmp_path / "o.zarr.zip", "--times", tmp_path / "t"]
    with pytest.raises(UserError, match="no field has a truth"):
        benchmark_method.main([str(part) for part in ("--fields", tmp_path / "m.tsv", *more)])


@pytest.mark.parametrize(("fields", "folds"), [(1, 1), (2, 3), (3, 3), (10, 3), (31, 4)])
def test_every_field_is_in_one_fold_and_folds_are_alike(fields, folds):
    names = [f"f{i}" for i in range(fields)]
    found = fold_of(names, folds)
    assert list(found) == names
    sizes = np.bincount(list(found.values()), minlength=folds)
    assert len(sizes) == folds
    assert sizes.max() - sizes.min() <= 1
    assert found == fold_of(names, folds)
    # what is added at the end moves no other field
    assert found.items() <= fold_of([*names, "new"], folds).items()


def test_crop_shows_the_most_nuclei():
    truth = np.zeros((30, 45), np.uint16)
    truth[0, :10] = 1  # one large
    truth[12:14, 20:30:2] = np.arange(2, 7)  # five small ones
    y, x = densest_crop(truth, side=10)
    assert len(np.unique(truth[y, x])) == 6
    assert (y.stop - y.start, x.stop - x.start) == (10, 10)
    whole = densest_crop(truth, side=100)
    assert truth[whole].shape == truth.shape
    # the last column is within reach too
    truth[29, 39:] = np.arange(10, 16)
    assert truth[densest_crop(truth, side=10)].max() == 15


def test_field_of_the_picture_is_neither_best_nor_worst():
    table = pd.DataFrame({"field": list("abcd"), "ap50": [0.9, 0.1, 0.5, 0.6]})
    assert middle_field(table) == "c"
    assert middle_field(table.iloc[:3]) == "c"
    assert middle_field(table.iloc[:1]) == "a"


def constant(path, logit):
    """Weights for which every pixel is nucleus, or none."""
    network = VoteNetwork()
    torch.nn.init.zeros_(network.head.weight)
    torch.nn.init.constant_(network.head.bias, 0.0)
    network.head.bias.data[:4] = logit
    save_segmenter(path, network.state_dict(), "votes", {})
    return path


def test_each_field_is_segmented_by_the_network_of_its_fold(tmp_path):
    weights = [constant(tmp_path / f"{k}.safetensors", logit) for k, logit in ((0, -9), (1, 9))]
    names = ["a", "b", "c", "d"]
    method = load_method("votes", weights, "cpu", 1, names)
    assert (method.network, method.device) == ("votes", "cpu, 1 thread")
    group = zarr.open_group(tmp_path / "scratch", mode="w")
    dapi = np.full((64, 64), PEAK)
    found = [len(method.segment(Field(name, dapi, 32.0, PEAK), group).lookup) for name in names]
    assert [count > 1 for count in found] == [False, True, False, True]


def test_a_failed_fold_is_named(tmp_path):
    weights = [constant(tmp_path / "0.safetensors", 0), tmp_path / "1.safetensors"]
    save_failure(weights[1], "votes", "the training diverged")
    found = load_method("votes", weights, "cpu", 1, ["a", "b"])
    assert found.note == "fold 1: the training failed: the training diverged"


def test_a_training_that_changed_nothing_is_told(tmp_path):
    state = VoteNetwork().state_dict()
    for kept, told in (("start", "votes, the first weights unchanged"), ("round 1", "votes")):
        save_segmenter(tmp_path / "w.safetensors", state, "votes", {"kept": kept})
        method = load_method("votes", [tmp_path / "w.safetensors"], "cpu", 1, ["a"])
        assert method.network == told


@pytest.fixture(scope="module")
def fields(tmp_path_factory):
    """Two drawn fields, one that was rejected, and random weights."""
    folder = tmp_path_factory.mktemp("run")
    rows = []
    for seed, name in enumerate(("one", "two", "bad")):
        drawn = draw_field((170, 150 + 20 * seed), 24, 12, seed, touching=0, background=0)
        write_stage(folder / name, np.maximum(drawn.image, 0), drawn.labels)
        tifffile.imwrite(folder / name / "truth.tif", drawn.labels.astype(np.uint16))
        paths = {"truth": "truth.tif", "dapi": "dapi.zarr.zip", "qc": "qc.json"}
        rows.append({"field": name, **{k: folder / name / v for k, v in paths.items()}})
    write_stage(folder / "bad", np.zeros((1, 1)), np.zeros((1, 1), int), status="rejected",
                reasons=["flat"], diameter_px=None, nuclear_intensity=None)  # fmt: skip
    write_manifest(folder / "manifest.tsv", rows)
    torch.manual_seed(0)
    save_segmenter(folder / "random.safetensors", VoteNetwork().state_dict(), "votes", {})
    return folder


def segment(folder, method, *weights):
    parts = ["--fields", folder / "manifest.tsv", "--method", method, "--device", "cpu"]
    parts += ["--threads", 1, "--labels", folder / f"{method}.zarr.zip"]
    parts += ["--times", folder / f"{method}.csv"]
    return [str(part) for part in (*parts, *(["--weights", *weights] if weights else []))]


def call(script, arguments):
    command = [sys.executable, ROOT / "scripts" / f"{script}.py", *arguments]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_command_lines(fields):
    call("benchmark_method", segment(fields, "watershed"))
    call("benchmark_method", segment(fields, "votes", fields / "random.safetensors"))
    benchmark_method.main(segment(fields, "cellpose_downloaded", fields / "nothing"))
    for method in ("watershed", "votes"):
        times = pd.read_csv(fields / f"{method}.csv")
        assert times["field"].tolist() == ["one", "two"]
        assert times[["height", "width"]].to_numpy().tolist() == [[170, 150], [170, 170]]
        assert (times["seconds"] > 0).all()
    methods = ["watershed", "cellpose_downloaded", "votes"]
    call("benchmark_segmentation", arguments(fields, *methods))
    table = pd.read_csv(fields / "t.csv", index_col="method")
    assert table.index.tolist() == methods
    assert table.loc["watershed", "ap50"] > 0.8
    assert table.loc["votes", "ap50"] < 0.2
    assert table["network"].tolist()[::2] == ["watershed", "votes"]
    assert table.loc["cellpose_downloaded", "note"] == NO_WEIGHTS
    with open_labels(fields / "one" / "truth.tif") as truth:
        nuclei = np.unique(truth[:]).size - 1
    assert pd.read_csv(fields / "f.csv").query("field == 'one'")["true"].tolist() == [nuclei] * 2
    assert METHODS["votes"] in (fields / "index.html").read_text(encoding="utf-8")


def test_a_training_that_failed_is_a_row(fields):
    save_failure(fields / "failed.safetensors", "cellpose", "1 steps taught nothing")
    benchmark_method.main(segment(fields, "watershed"))
    benchmark_method.main(segment(fields, "cellpose", fields / "failed.safetensors"))
    call("benchmark_segmentation", arguments(fields, "watershed", "cellpose"))
    table = pd.read_csv(fields / "t.csv", index_col="method")
    assert table.loc["cellpose", "note"] == "the training failed: 1 steps taught nothing"
    assert pd.isna(table.loc["cellpose", "ap50"])
    assert table.loc["watershed", "ap50"] > 0.8


def test_same_labels_again(fields):
    stores = []
    for _ in range(2):
        benchmark_method.main(segment(fields, "watershed"))
        stores.append((fields / "watershed.zarr.zip").read_bytes())
    assert stores[0] == stores[1]


# the small model was made for prompts: by itself it is sure of few nuclei
@pytest.mark.parametrize(("method", "least"), [("sam_prompted", 0.8), ("sam_auto", 0.01)])
def test_promptable_model_with_and_without_prompts(fields, method, least):
    benchmark_method.main(segment(fields, method, SMALL))
    with open_zip(fields / f"{method}.zarr.zip") as store:
        assert store.attrs["network"] == "small"
        assert sorted(store) == ["one", "two"]
        found = store["one"][:]
    truth = tifffile.imread(fields / "one" / "truth.tif")
    assert np.mean((found > 0)[truth > 0]) > least
    assert np.mean((found > 0)[truth == 0]) < 0.1


def test_published_cellpose_is_used_as_downloaded(tmp_path):
    from cellsieve.segmenters.cellpose import VARIANTS, CellposeNetwork

    torch.manual_seed(0)
    torch.save(CellposeNetwork(VARIANTS["nuclei"]).state_dict(), tmp_path / "nucleitorch_0")
    method = load_method("cellpose_downloaded", [tmp_path / "nucleitorch_0"], "cpu", 1, ["a"])
    assert method.network == "cellpose, nucleitorch_0"
    group = zarr.open_group(tmp_path / "scratch", mode="w")
    field = Field("a", np.full((40, 50), PEAK), 20.0, PEAK)
    assert method.segment(field, group).labels.shape == (40, 50)


def test_weights_are_needed_and_those_of_another_engine_refused(fields):
    with pytest.raises(UserError, match="method votes: its weights are missing"):
        benchmark_method.main(segment(fields, "votes"))
    with pytest.raises(UserError, match="weights of the engine votes, but cellpose is asked for"):
        benchmark_method.main(segment(fields, "cellpose", fields / "random.safetensors"))


def plan_of(checkout, truths):
    """Jobs of the benchmark on three fields, of which the first ones have a truth."""
    rows = [{"field": f"f{n}", "image": f"f{n}.tif"} for n in range(3)]
    for n, row in enumerate(rows):
        if n < truths:
            row["truth"] = f"f{n}.truth.tif"
            (checkout.folder / "in" / row["truth"]).touch()
        (checkout.folder / "in" / row["image"]).touch()
    checkout.write_sheet(*rows)
    return checkout.plan("benchmark")


def test_benchmark_plans_what_it_needs_of_the_fields_with_a_truth(checkout):
    plan = plan_of(checkout, truths=2)
    assert [name for name in plan if name.startswith("pre")] == ["preprocess f0", "preprocess f1"]
    assert {f"benchmark_method {name}" for name in METHODS} < set(plan)
    trained = [name.split()[1] for name in plan if name.startswith("benchmark_finetune ")]
    assert trained == ["cellpose", "maskrcnn", "votes"]
    # of two fields no more than two folds
    human = [name.split()[1] for name in plan if name.startswith("benchmark_finetune_human")]
    assert human == ["0", "1"]
    assert {"manifest benchmark", "benchmark"} < set(plan)
    assert not [name for name in plan if name.startswith(("segment ", "report"))]


def test_one_field_cannot_be_left_out(checkout):
    assert not [name for name in plan_of(checkout, truths=1) if "human" in name]


def test_without_a_truth_the_plan_stops_with_one_line(checkout):
    plan_of(checkout, truths=1)
    checkout.write_sheet({"field": "f0", "image": "f0.tif"})
    done = checkout.run("--dry-run", "benchmark", check=False)
    assert done.returncode != 0
    assert done.stdout.strip().splitlines()[-1].startswith("error: in/fields.tsv: no field has a")
    assert "Traceback" not in done.stdout
    assert checkout.run("--dry-run").returncode == 0
