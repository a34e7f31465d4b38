"""Agreement of a run with known truth, by hand."""

import numpy as np
import pandas as pd
import pytest
import tifffile

from cellsieve.benchmarks.agreement import (
    auroc,
    compare_cacs,
    compare_cells,
    compare_labels,
    join_truth,
    summarise,
)


def squares(*corners, side=10, size=60):
    labels = np.zeros((size, size), np.uint16)
    for label, (y, x) in enumerate(corners, 1):
        labels[y : y + side, x : x + side] = label
    return labels


def test_labels_by_hand():
    truth = squares((0, 0), (20, 20), (40, 40))
    # one exact; one moved by 2 of 10 px: IoU 80/120; one missed; one invented
    found = squares((0, 0), (22, 20), (0, 40))
    result = compare_labels(truth, found)
    assert (result["true"], result["found"], result["hits"]) == (3, 3, 2)
    assert result["ap50"] == pytest.approx(2 / 4)
    assert result["dice"] == pytest.approx(2 * 180 / 600)
    # IoU 2/3 counts at 0.50, 0.55, 0.60, 0.65: two hits of four; then one of five
    assert [result[name] for name in ("ap65", "ap70", "ap95")] == [2 / 4, 1 / 5, 1 / 5]
    assert result["map"] == pytest.approx((4 * 2 / 4 + 6 * 1 / 5) / 10)
    # unions of 100 and 120; one missed, one invented
    assert result["aji"] == pytest.approx(180 / 420)
    assert result["iou"] == pytest.approx(180 / 420)
    assert (result["pq"], result["sq"], result["rq"]) == pytest.approx((5 / 9, 5 / 6, 2 / 3))
    assert (result["count_error"], result["count_error_abs"]) == (0, 0)


def test_an_iou_at_a_threshold_counts():
    """3 of 5 px are 0.6, as is the threshold: no trace of binary fractions between them."""
    truth = np.array([[1, 1, 1, 1, 1]])
    assert compare_labels(truth, np.array([[0, 0, 1, 1, 1]]))["ap60"] == 1


def test_fields_are_averaged_and_nuclei_pooled():
    """One field of four nuclei, all found; one of one nucleus with a second invented."""
    four = squares((0, 0), (20, 0), (0, 20), (20, 20))
    one, two = squares((0, 0)), squares((0, 0), (40, 40))
    summary = summarise(pd.DataFrame([compare_labels(four, four), compare_labels(one, two)]))
    assert (summary["fields"], summary["nuclei"]) == (2, 5)
    assert summary["ap50"] == {"mean": 0.75, "low": 0.5, "high": 1.0}
    assert summary["f1"] == pytest.approx({"pooled": 10 / 11, "low": 2 / 3, "high": 1.0})
    assert summary["precision"]["pooled"] == pytest.approx(5 / 6)
    assert summary["recall"]["pooled"] == 1
    assert (summary["count_error"]["mean"], summary["count_error_abs"]["mean"]) == (0.5, 0.5)


def test_fields_where_nothing_was_found():
    nothing = squares()
    summary = summarise(pd.DataFrame([compare_labels(squares((0, 0)), nothing)] * 2))
    assert summary["sq"] == {"mean": None, "low": None, "high": None}
    assert summary["precision"]["pooled"] is None
    assert summary["recall"] == {"pooled": 0, "low": 0, "high": 0}
    assert summary["count_error"]["mean"] == -1


def test_truth_of_the_simulator_is_joined_to_the_nuclei_that_agree(tmp_path):
    tifffile.imwrite(tmp_path / "a.labels.tif", squares((0, 0), (20, 20), (40, 40)))
    # the first and the third, numbered otherwise; the second moved by half: IoU 1/3
    tifffile.imwrite(tmp_path / "n.tif", squares((40, 40), (25, 20), (1, 0)))
    pd.DataFrame({"label": [1, 2, 3], "class": ["normal", "normal", "abnormal"]}).to_csv(
        tmp_path / "a.cells.tsv", sep="\t", index=False
    )
    row = {"field": "a", "nuclei": f"{tmp_path}/n.tif", "truth": f"{tmp_path}/a.labels.tif"}
    joined = join_truth([row], pd.DataFrame({"field": "a", "cell": [1, 2, 3]}))
    assert joined[["cell", "true_class"]].to_numpy().tolist() == [[1, "abnormal"], [3, "normal"]]


def test_auroc_by_hand():
    positive = np.array([True, False, True, False])
    assert auroc(np.array([4.0, 1, 3, 2]), positive) == 1
    assert auroc(np.array([2.0, 2, 2, 2]), positive) == 0.5
    assert auroc(np.array([3.0, 2, 1, np.nan]), positive) == 0.5
    assert auroc(np.array([1.0, 2]), np.array([True, True])) is None


def test_cells_against_truth():
    joined = pd.DataFrame(
        {
            "call": ["suspicious", "normal", "normal", "not_assessable"],
            "true_class": ["abnormal", "abnormal", "normal", "normal"],
            "anomaly_score": [9.0, 1.0, 2.0, 5.0],
            "aqua": [3, 2, 2, 7],
            "true_aqua": [3, 3, 2, 2],
            "aqua_state": ["gain", "normal", "normal", None],
            "fish_call": ["gain", "normal", "normal", "not_assessable"],
            "true_overlapped": [0.0, 0.1, 0.0, 0.0],
            "true_touches_border": [0, 0, 0, 0],
        }
    )
    result = compare_cells(joined, ["aqua"])
    assert result["suspicious_abnormal"] == 1
    assert result["suspicious_normal"] == 0
    assert (result["assessable_normal"], result["assessable_abnormal"]) == (1, 2)
    assert result["auroc"] == 0.5
    assert result["exact_aqua"] == pytest.approx(2 / 3)
    # a truth of classes alone, whatever they are called
    classes = joined.drop(columns=["true_aqua", "true_overlapped", "true_touches_border"])
    mitotic = classes.replace({"true_class": {"abnormal": "mitotic"}})
    known = ("assessable_normal", "assessable_abnormal", "suspicious_normal")
    known += ("suspicious_abnormal", "auroc")
    assert compare_cells(mitotic, ["aqua"]) == {name: result[name] for name in known}


def test_cacs_against_truth():
    joined = pd.DataFrame(
        {
            "fish_call": ["cac", "normal", "cac", "normal", "not_assessable", "normal"],
            "true_aqua": [3, 4, 3, 2, 3, 2],
            "true_red": [3, 3, 2, 2, 3, 2],
            "true_overlapped": [0.0, 0.0, 0.0, 0.2, 0.0, 0.0],
            "true_touches_border": [0, 0, 0, 0, 0, 1],
        }
    )
    result = compare_cacs(joined, ["aqua", "red"])
    assert (result["fish_whole"], result["fish_whole_assessable"]) == (4, 3)
    assert (result["cac_true"], result["cac_found"]) == (2, 1)
    assert (result["cac_normal"], result["cac_false"]) == (3, 1)
    # the upper bound of one is 4.744
    assert result["cac_false_high"] == pytest.approx(4.744 / 3, abs=1e-3)
