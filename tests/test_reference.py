"""The bank, its neighbours and its p-values, by hand and by simulation."""

import numpy as np
import pandas as pd
import pytest
from scipy.spatial.distance import cdist

from cellsieve.anomaly.reference import (
    SMALLEST_BANK,
    Bank,
    conformal_p,
    prepare_bank,
    split_reference,
    trim,
)
from cellsieve.anomaly.reference_nuclei import read_label_list, zoom_factor
from cellsieve.errors import UserError


def table(values, first=0, specks=0.0):
    values = np.asarray(values, float)
    frame = pd.DataFrame(values, columns=[f"f_{i}" for i in range(values.shape[1])])
    frame.insert(0, "id", [f"a:{first + i}" for i in range(len(values))])
    return frame.assign(specks=specks)


def bank_of(table):
    return Bank(prepare_bank(table)[0])


def test_two_nearest_by_hand():
    """Reference nuclei at -10, -9 … 10: standard deviation √(21² - 1) / √12; less counts half."""
    line = np.arange(-10, 11)[:, None]
    variance = (21**2 - 1) / 12
    scores = bank_of(table(line)).score(table([[3.25], [20.0], [-20.0]], first=100))
    expected = [(0.25**2 + 0.75**2), (10**2 + 11**2), (10**2 + 11**2) / 4]
    assert scores.crop == pytest.approx(np.array(expected) / variance)
    assert scores.nearest.tolist() == [["a:13", "a:14"], ["a:20", "a:19"], ["a:0", "a:1"]]


def test_a_nucleus_in_the_bank_is_not_its_own_neighbour():
    line = table(np.arange(-10, 11)[:, None])
    scores = bank_of(line).score(line)
    variance = (21**2 - 1) / 12
    # neighbours at 1 and 1; at the ends 1 and 2; below the middle at half of that
    expected = np.array([5 / 4, *[2 / 4] * 9, 1 + 1 / 4, *[2] * 9, 5]) / variance
    assert scores.crop == pytest.approx(expected)
    assert not (scores.nearest == line["id"].to_numpy(str)[:, None]).any()


def test_equals_leaving_each_out_by_brute_force():
    random = np.random.default_rng(0)
    values = random.normal(size=(60, 4)) * [1, 10, 100, 0] + 5  # one feature does not vary
    bank = bank_of(table(values))
    spread = values.std(0)
    spread[3] = 1
    others = random.normal(size=(15, 4)) * [1, 10, 100, 0] + 5
    both = (np.vstack([values, others]) - np.median(values, 0)) / spread
    both[both < 0] /= 2
    distance = cdist(both, both[:60])
    np.fill_diagonal(distance, np.inf)
    expected = (np.sort(distance, axis=1)[:, :2] ** 2).sum(1)
    found = np.append(bank.score(table(values)).crop, bank.score(table(others, first=1000)).crop)
    assert found == pytest.approx(expected)


def test_twins_count_though_they_lie_at_no_distance():
    """Two nuclei in the bank with the same features: each is the other's neighbour."""
    values = np.append(np.arange(30.0), [7, 7, 7])[:, None]
    line = table(values)
    scores = bank_of(line).score(line)
    assert scores.crop[7] == 0
    assert "a:7" not in scores.nearest[7]
    assert scores.crop[30] == 0


def test_what_lies_beside_a_nucleus_counts_as_one_in_twenty_at_most():
    """Ordinary nuclei of the bank, and one far from it, beside specks of any brightness."""
    random = np.random.default_rng(2)
    bank = bank_of(table(random.normal(size=(199, 3)), specks=random.uniform(0, 0.1, 199)))
    far = table([[0, 0, 0]] * 3 + [[9, 9, 9]] * 2, 1000, specks=[0.05, 0.2, 50, 0, 50])
    scores = bank.score(far)
    assert scores.surroundings.tolist() == [0.05, 0.2, 50, 0, 50]
    assert scores.score[1] == scores.score[2] == pytest.approx(np.log10(20))
    assert scores.score[0] < 1
    assert scores.score[3] == scores.score[4] > 2


def test_a_large_bank_of_a_network_is_compared_with_a_coreset(monkeypatch):
    """Unit vectors in a plane; the loss is how far any of them is from the nearest kept."""
    monkeypatch.setattr("cellsieve.anomaly.reference._CORE", 25)
    angle = np.random.default_rng(3).uniform(0, 2 * np.pi, 200)
    vectors = np.stack([np.cos(angle), np.sin(angle)], 1)
    embedded = table(np.zeros((200, 2))).assign(e_000=vectors[:, 0], e_001=vectors[:, 1])
    prepared, notes = prepare_bank(embedded)
    core = prepared["core"].to_numpy()
    assert core.sum() == 25
    apart = cdist(vectors, vectors[core])
    radius = apart.min(1).max()
    assert radius < 2 * np.pi / 25
    assert notes == [
        "25 of the bank's 200 nuclei are compared with; none of the others is farther than"
        f" {radius:.3f} from all of them"
    ]
    apart[apart < 1e-9] = np.inf  # itself
    expected = (np.sort(apart, axis=1)[:, :2] ** 2).sum(1)
    assert prepared["distance"].to_numpy() == pytest.approx(expected, abs=1e-6)
    scores = Bank(prepared).score(embedded)
    assert scores.crop == pytest.approx(expected, abs=1e-6)
    assert set(scores.nearest.ravel()) <= set(prepared["id"][core])


def test_too_small_a_bank_is_refused():
    with pytest.raises(ValueError, match=str(SMALLEST_BANK)):
        bank_of(table(np.zeros((SMALLEST_BANK - 1, 2))))


def test_p_by_hand():
    calibration = np.array([4.0, 1.0, 2.0, 3.0])
    score = np.array([0.5, 1.0, 2.5, 4.0, 9.0])
    assert conformal_p(score, calibration).tolist() == [1.0, 1.0, 0.6, 0.4, 0.2]
    assert conformal_p(np.array([1.0, 1.0]), np.ones(3)).tolist() == [1.0, 1.0]
    assert np.isnan(conformal_p(score, np.empty(0))).all()


@pytest.mark.parametrize("alpha", [0.01, 0.05, 0.2])
@pytest.mark.parametrize("draw", ["continuous", "ties"])
def test_no_more_false_alarms_than_promised(alpha, draw):
    """Normal nuclei from 400 draws of calibration and test: at most alpha of them at p ≤ alpha."""
    random = np.random.default_rng(7)
    rates = []
    for _ in range(400):
        scores = random.chisquare(3, 260)
        if draw == "ties":
            scores = np.floor(scores)
        rates.append((conformal_p(scores[200:], scores[:200]) <= alpha).mean())
    error = np.std(rates) / np.sqrt(len(rates))
    assert np.mean(rates) <= alpha + 3 * error
    if draw == "continuous":
        assert np.mean(rates) >= alpha - 3 * error - 1 / 201


def test_no_more_false_alarms_with_the_whole_bank():
    """The same, when bank, calibration and field are nuclei of one population."""
    random = np.random.default_rng(8)
    rates = []
    for _ in range(200):
        nuclei = table(random.standard_t(5, (300, 5)))
        bank, held_out, field = nuclei[:100], nuclei[100:200], nuclei[200:]
        model = bank_of(bank)
        p = conformal_p(model.score(field).score, model.score(held_out).score)
        rates.append((p <= 0.1).mean())
    assert np.mean(rates) <= 0.1 + 3 * np.std(rates) / np.sqrt(len(rates))


def reference(slides):
    """One row a nucleus of slides given as lists of (field, nuclei)."""
    return pd.DataFrame(
        {"slide": slide, "field": field, "f_0": float(i)}
        for slide, fields in slides.items()
        for field, count in fields
        for i in range(count)
    )


@pytest.mark.parametrize(
    ("slides", "by"),
    [
        ({"s1": [("a", 19), ("b", 19)], "s2": [("c", 29)], "s3": [("d", 29)]}, "slide"),
        ({"s1": [("a", 29), ("b", 29), ("c", 29)]}, "field"),
        ({"s1": [("a", 60)]}, "nucleus"),
        # a tiny slide alone is neither a bank nor calibrates one
        ({"s1": [("a", 60)], "s2": [("c", SMALLEST_BANK - 1)]}, "nucleus"),
    ],
)
def test_bank_and_calibration_share_no_slide_else_no_field(slides, by):
    nuclei = reference(slides)
    splits = {seed: split_reference(nuclei, seed) for seed in range(8)}
    for split in splits.values():
        assert split.by == by
        assert 0 < split.in_bank.sum() < len(nuclei)
        if by != "nucleus":
            assert not set(nuclei[by][split.in_bank]) & set(nuclei[by][~split.in_bank])
    assert len({tuple(split.in_bank) for split in splits.values()}) > 1
    assert np.array_equal(split_reference(nuclei, 3).in_bank, splits[3].in_bank)


def test_the_order_of_the_fields_does_not_change_the_split():
    nuclei = reference({f"s{i}": [(f"f{i}", 14)] for i in range(6)})
    shuffled = nuclei.sample(frac=1, random_state=1)
    in_bank = set(nuclei["field"][split_reference(nuclei, 5).in_bank])
    assert in_bank == set(shuffled["field"][split_reference(shuffled, 5).in_bank])


def test_trimming_drops_the_extremes():
    values = np.random.default_rng(0).normal(size=(200, 3))
    values[:10] += 8
    kept = trim(table(values))
    assert len(kept) == 180
    assert kept.index.min() == 10


@pytest.mark.parametrize(
    ("field", "reference", "zoom"), [(0.5, 0.25, 2.0), (None, 0.25, 1.0), (0.5, None, 1.0)]
)
def test_zoom_needs_both_pixel_sizes(field, reference, zoom):
    assert zoom_factor(field, reference) == zoom


@pytest.mark.parametrize(
    "text", ["3\n1\n", "cell\n3\n1\n", "\ufeffcell\tnote\r\n3\tx\r\n1\ty\r\n\r\n", "3\n\n1"]
)
def test_label_lists_are_read_as_people_write_them(tmp_path, text):
    (tmp_path / "l.tsv").write_bytes(text.encode())
    assert read_label_list(tmp_path / "l.tsv") == [3, 1]


@pytest.mark.parametrize("line", ["-1", "2.5", "x", "²"])
def test_what_is_no_label_is_named(tmp_path, line):
    (tmp_path / "l.tsv").write_text(f"cell\n1\n{line}\n", encoding="utf-8")
    with pytest.raises(UserError, match="row 3"):
        read_label_list(tmp_path / "l.tsv")


def test_a_missing_list_is_a_mistake_in_the_sheet(tmp_path):
    with pytest.raises(UserError, match="no such file"):
        read_label_list(tmp_path / "l.tsv")
