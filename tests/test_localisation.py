"""Windows of a field and what Grad-CAM++ finds in them."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from reference_runs import OUTPUTS, build_arguments, call, row, score_arguments, write_field
from scipy import ndimage
from scipy.stats import spearmanr
from skimage.transform import resize
from synthetic import draw_field

import build_reference
import score_anomaly
from cellsieve.anomaly.reference_model import load_model
from cellsieve.anomaly.reference_nuclei import Scale
from cellsieve.anomaly_networks.files import Network, load_start, save_network
from cellsieve.anomaly_networks.localisation import (
    Localiser,
    RawGradCam,
    describe_windows,
    integrate,
    tell,
)
from cellsieve.anomaly_networks.methods import METHODS
from cellsieve.anomaly_networks.networks import FAMILIES, Backbone
from cellsieve.anomaly_networks.windows import CELL, WINDOW, lay_windows, window_starts
from cellsieve.objects import bounding_boxes
from cellsieve.stores import open_zip
from cellsieve.tables import read_table

SCALE = Scale(24.0, None)  # the view is the field itself
BACKBONES = Path(__file__).parents[1] / "resources" / "backbones"


def network(backbone, seed=0):
    torch.manual_seed(seed)
    return Network(METHODS["frozen"], METHODS["frozen"].build(Backbone(backbone)).eval())


def field(shape, seed=0):
    drawn = draw_field(shape, 24, shape[0] * shape[1] // 2500, seed, touching=0, background=0)
    return np.maximum(drawn.image, 0), drawn.labels


def lay(dapi, labels):
    typical = float(np.median(dapi[labels > 0]))
    return lay_windows(dapi, labels, {"pixel_size_um": None, "nuclear_intensity": typical}, SCALE)


def window(seed=0):
    dapi, labels = field((WINDOW, WINDOW), seed)
    return torch.from_numpy(lay(dapi, labels).cut((0, 0)))[None]


def from_the_middle(z):
    return ((z - 0.05) ** 2).sum()


def test_the_papers_slide_has_ninety_windows():
    """4128x3600 px in windows of 512 px, brought to 224 px."""
    assert [len(window_starts(round(side * 224 / 512))) for side in (4128, 3600)] == [10, 9]


@pytest.mark.parametrize("length", [1, 223, 224, 225, 404, 405, 1806])
def test_every_pixel_is_in_a_window_and_no_window_goes_far_beyond(length):
    starts = window_starts(length)
    shown = np.zeros(length, bool)
    for start in starts:
        assert start % CELL == 0
        shown[start : start + WINDOW] = True
    assert shown.all()
    assert starts == sorted(set(starts))
    assert starts[-1] == 0 or starts[-1] + WINDOW < length + CELL


def test_a_field_smaller_than_a_window_is_one_window_mirrored_beyond_the_field():
    dapi, labels = field((100, 150))
    windows = lay(dapi, labels)
    assert windows.starts == [(0, 0)]
    cut = windows.cut((0, 0))
    assert cut.shape == (2, 128, 160)
    assert (cut[1, :100, :150] == (labels > 0)).all()
    assert (cut[:, 100:] == cut[:, 99:71:-1]).all()
    localiser = Localiser(network("test_vit"), pd.DataFrame(columns=["field", "y0", "x0"]))
    assert localiser.look(windows, "a").heat.shape == (25, 38)


@pytest.mark.parametrize("family", [*FAMILIES, "test_vit"])
def test_the_map_is_grad_cam_plus_plus(family):
    """By autograd and eq. 19, without the library."""
    described = network(family)
    crops = window()
    backbone, kept = described.module.backbone, []
    hook = backbone.last_layer.register_forward_hook(lambda *call: kept.append(call[2]))
    target = torch.log(from_the_middle(described.module(crops)[0]))
    gradient = torch.autograd.grad(target, kept[0])[0]
    hook.remove()
    seen = (
        backbone.unrolled(t, crops.shape[-2:]) if backbone.tokens else t
        for t in (kept[0], gradient)
    )
    activation, gradient = (t.detach().numpy()[0].astype(float) for t in seen)
    # where activations sum to less than 0, as if they summed to 0
    total = np.maximum(activation.sum((1, 2), keepdims=True), 0)
    divisor = 2 * gradient**2 + total * gradient**3
    alpha = np.divide(gradient**2, divisor, out=np.zeros_like(divisor), where=divisor > 0)
    weight = (alpha * np.maximum(gradient, 0)).sum((1, 2))
    expected = np.maximum((weight[:, None, None] * activation).sum(0), 0)
    with RawGradCam(described) as cam:
        found = cam(crops, [lambda z: torch.log(from_the_middle(z))])[0]
    assert found.max() > 0
    assert found == pytest.approx(
        resize(expected, found.shape, order=1), rel=1e-3, abs=float(1e-3 * found.max())
    )


def test_a_rescaled_score_gives_the_same_map():
    """An embedding a hundred times as wide has ten thousand times the scores."""
    described = network("test_vit")
    wide = described.method._replace(embed=lambda m, crops: 100 * described.method.embed(m, crops))
    windows = lay(*field((640, 640)))
    seen = []
    for one in (described, Network(wide, described.module)):
        localiser = Localiser(one, describe_windows(one, windows, "a"))
        seen.append(localiser.look(lay(*field((640, 640), 1)), "b"))
    assert seen[1].scores == pytest.approx(1e4 * seen[0].scores, rel=1e-3)
    highest = float(seen[0].heat.max())
    assert seen[1].heat / 1e4 == pytest.approx(seen[0].heat, rel=1e-2, abs=1e-3 * highest)


def test_other_weights_give_another_map():
    """The network that ships, and one of random weights (Adebayo et al., NeurIPS 2018)."""
    shipped = network("vit")
    shipped.module.backbone.load_state_dict(load_start(BACKBONES / "vit.safetensors", "vit"))
    maps = []
    for described in (shipped, network("vit", 1)):
        with RawGradCam(described) as cam:
            maps.append(cam(window(), [lambda z: torch.log(from_the_middle(z))])[0])
    assert spearmanr(maps[0].ravel(), maps[1].ravel()).statistic < 0.5


def test_neighbours_overlap_no_window_and_none_is_its_own():
    dapi, labels = field((640, 640))
    windows, described = lay(dapi, labels), network("test_vit")
    bank = describe_windows(described, windows, "a")
    localiser = Localiser(described, bank)
    vectors = bank.filter(like="e_").to_numpy()
    scores = localiser.look(windows, "a").scores
    for number, (y, x) in enumerate(windows.starts):
        apart = [abs(y - v) >= WINDOW or abs(x - w) >= WINDOW for v, w in windows.starts]
        distance = ((vectors[apart] - vectors[number]) ** 2).sum(1)
        assert scores[number] == pytest.approx(np.sort(distance)[:2].sum(), rel=1e-3)
    # of another field all are strangers: each window finds itself
    assert (localiser.look(windows, "b").scores < scores).all()


def test_windows_with_other_nuclei_than_the_listed_are_no_reference():
    dapi, labels = field((640, 640))
    windows = lay(dapi, labels)
    inside = np.unique(labels[:WINDOW, :WINDOW])
    kept = windows.showing_only([int(cell) for cell in inside if cell])
    assert kept.starts == [(0, 0)]
    assert windows.showing_only([int(cell) for cell in inside[2:]]).starts == []
    assert windows.showing_only(range(1, int(labels.max()) + 1)).starts == windows.starts


def test_too_few_windows_have_no_neighbours():
    dapi, labels = field((300, 300))
    windows, described = lay(dapi, labels), network("test_vit")
    localiser = Localiser(described, describe_windows(described, windows, "a"))
    seen = localiser.look(windows, "a")
    assert np.isnan(seen.scores).all()
    assert not seen.heat.any()
    found = tell(seen, windows, bounding_boxes(labels))
    assert found.isna().all(axis=None)


def test_where_windows_overlap_the_higher_value_counts():
    described = network("test_vit")
    bank = describe_windows(described, lay(*field((640, 640), 1)), "a")
    localiser, windows = Localiser(described, bank), lay(*field((300, 224)))
    assert len(windows.starts) == 2
    alone = [localiser.look(windows._replace(starts=[start]), "b").heat for start in windows.starts]
    both = localiser.look(windows, "b").heat
    assert (both == np.maximum(*alone)).all()
    overlap = slice(76 // CELL, WINDOW // CELL)
    assert (both[overlap] > alone[0][overlap]).any()
    assert (both[overlap] > alone[1][overlap]).any()


def test_the_highest_window_of_a_place():
    dapi, labels = field((300, 224))
    windows = lay(dapi, labels)
    assert windows.starts == [(0, 0), (76, 0)]
    places = np.array([[10, 10], [100, 10], [290, 10]])
    assert windows.highest(np.array([1.0, 2.0]), places).tolist() == [1, 2, 2]


@pytest.mark.parametrize("tile", [7, 512])
def test_a_map_is_shared_out_among_nuclei_by_the_nearest(tile, monkeypatch):
    """Against every pixel's nearest nucleus, by brute force."""
    monkeypatch.setattr("cellsieve.anomaly_networks.localisation._TILE", tile)
    labels = np.zeros((120, 120), np.uint32)
    labels[20:44, 20:44] = 7
    labels[20:44, 52:76] = 3_000_000_000
    labels[80:104, 20:44] = 9
    windows = lay(np.zeros((120, 120)), labels)
    heat = np.random.default_rng(0).random((30, 30)).astype(np.float32)
    coarse = labels[2::CELL, 2::CELL]
    cells = [7, 9, 3_000_000_000]
    distance = np.stack([ndimage.distance_transform_edt(coarse != cell) for cell in cells])
    owner = np.where(distance.min(0) <= 3, distance.argmin(0), -1)
    expected = [heat[owner == place].sum() / 36 for place in range(3)]
    found = integrate(heat, windows, pd.Index(cells))
    assert found.to_numpy() == pytest.approx(expected, rel=0.03)  # pixels as near to two


def test_scripts_localise_and_give_the_same_bytes_again(tmp_path):
    for name, seed in (("n1", 1), ("n2", 2), ("p", 3)):
        write_field(tmp_path / name, seed, 200, side=640)
    described = network("test_vit")
    weights = tmp_path / "w.safetensors"
    save_network(weights, described.module.state_dict(), "frozen", "test_vit")
    rows = [row(tmp_path / name, name) for name in ("n1", "n2")]
    model = tmp_path / "model"
    more = ["--method", "network", "--network", weights, "--threads", 1]
    more += ["--network-copy", model / "network.safetensors", "--surroundings", "localised"]
    windows = model / "windows.parquet"
    done = call("build_reference", build_arguments(model, rows, *more, "--windows", windows))
    assert done.returncode == 0, done.stderr
    bank = pd.read_parquet(model / "bank.parquet")
    assert set(pd.read_parquet(windows)["field"]) == set(bank["field"])
    first = []
    for _ in range(2):
        done = call("score_anomaly", [*score_arguments(tmp_path / "p", model), "--threads", "1"])
        assert done.returncode == 0, done.stderr
        first.append([(tmp_path / "p" / file).read_bytes() for file in OUTPUTS])
    assert first[0] == first[1]
    table = read_table(tmp_path / "p" / OUTPUTS[0])
    assert (table["anomaly_map"] >= 0).all()
    assert table["anomaly_map"].nunique() > len(table) / 2
    with open_zip(tmp_path / "p" / OUTPUTS[1]) as store:
        assert store["localised"].shape == (160, 160)
        assert store["localised"][:].max() > 0
        assert store.attrs["localised_scale"] == CELL
    done = call("build_reference", build_arguments(model, rows, *more))
    assert done.returncode == 2
    assert "--surroundings localised needs --method network and --windows" in done.stderr


def test_an_odd_window_scores_above_normal_ones():
    described = network("resnet")
    banks = []
    for seed in range(3):
        dapi, labels = field((640, 640), seed)
        banks.append(describe_windows(described, lay(dapi, labels), str(seed)))
    localiser = Localiser(described, pd.concat(banks, ignore_index=True))
    dapi, labels = field((640, 640), 9)
    dapi[40:120, 40:120] = 20 * dapi.max()
    boxes, windows = bounding_boxes(labels), lay(dapi, labels)
    table = tell(localiser.look(windows, "p"), windows, boxes)
    near = (boxes["y0"] < 120) & (boxes["x0"] < 120)
    assert table["window"][near].min() > table["window"][boxes["y0"] > 300].max()


@pytest.mark.parametrize("listed", [None, range(1, 60)])
def test_a_reference_that_cannot_be_localised_counts_specks(tmp_path, listed):
    """A small field, and one most of whose windows show nuclei that are not listed."""
    side = 400 if listed is None else 640
    write_field(tmp_path / "n", 1, side * side // 1500, side=side)
    one = row(tmp_path / "n", "s")
    if listed:
        (tmp_path / "list.tsv").write_text("\n".join(map(str, listed)))
        one["reference_nuclei"] = tmp_path / "list.tsv"
    described = network("test_vit")
    save_network(tmp_path / "w", described.module.state_dict(), "frozen", "test_vit")
    model = tmp_path / "model"
    more = ["--method", "network", "--network", tmp_path / "w", "--threads", 1]
    more += ["--network-copy", model / "network.safetensors", "--surroundings", "localised"]
    more += ["--windows", model / "windows.parquet"]
    build_reference.main(build_arguments(model, [one], *more))
    loaded = load_model(model)
    assert loaded.windows.empty
    assert "too few windows of reference nuclei alone to localise: specks count" in loaded.notes
    score_anomaly.main(score_arguments(tmp_path / "n", model))
    table = read_table(tmp_path / "n" / OUTPUTS[0])
    specks = loaded.bank.set_index("cell")["specks"]
    found = table.set_index("cell").loc[specks.index, "anomaly_map"]
    assert found.to_numpy() == pytest.approx(specks.to_numpy())
