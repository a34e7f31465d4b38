"""The benchmark of anomaly methods: its figures by hand, and its two scripts on real files."""

import pandas as pd
import pytest

from cellsieve.benchmarks.anomaly_benchmark import figures, split_fields, summarise
from cellsieve.errors import UserError


def nuclei(**columns):
    return pd.DataFrame({"anomaly_p": 0.5, "anomaly_crop": 0.0, "anomaly_map": 0.0, **columns})


def test_figures_are_those_worked_out_by_hand():
    # by score: abnormal 3, normal 2, abnormal 1.5, normal 1
    scores = nuclei(
        **{"class": ["normal", "normal", "abnormal", "abnormal"]},
        anomaly_score=[1, 2, 1.5, 3],
        anomaly_p=[0.5, 0.04, 0.3, 0.01],
    )
    found = {row["view"]: row for row in figures(scores)}
    assert set(found) == {"nucleus", "surroundings", "joined"}
    joined = found["joined"]
    assert (joined["class"], joined["normal"], joined["abnormal"]) == ("abnormal", 2, 2)
    assert joined["roc_auc"] == pytest.approx(3 / 4)
    assert joined["ap"] == pytest.approx((1 + 2 / 3) / 2)
    # trapezoids between (recall, precision) (0, 1), (1/2, 1), (1/2, 1/2), (1, 2/3)
    assert joined["pr_auc"] == pytest.approx(1 / 2 + (1 / 2 + 2 / 3) / 4)
    assert joined["recall_fpr1"] == joined["recall_fpr5"] == 0.5
    assert (joined["recall_p5"], joined["fpr_p5"]) == (0.5, 0.5)
    assert found["nucleus"]["roc_auc"] == 0.5


def test_each_class_is_compared_with_normal_nuclei_alone():
    scores = nuclei(
        **{"class": ["normal", "normal", "mitotic", "prophase"]}, anomaly_score=[1, 2, 3, 0]
    )
    found = {row["class"]: row for row in figures(scores) if row["view"] == "joined"}
    assert {kind: row["roc_auc"] for kind, row in found.items()} == {
        "all": 0.5,
        "mitotic": 1,
        "prophase": 0,
    }
    assert {kind: row["abnormal"] for kind, row in found.items()} == {
        "all": 2,
        "mitotic": 1,
        "prophase": 1,
    }


def test_a_score_that_a_method_lacks_has_no_row():
    scores = nuclei(**{"class": ["normal", "abnormal"]}, anomaly_score=[1, 2])
    assert "pretext" not in {row["view"] for row in figures(scores)}
    scores["pretext"] = [2.0, 1.0]
    (row,) = [row for row in figures(scores) if row["view"] == "pretext"]
    assert row["roc_auc"] == 0


def test_seeds_are_averaged_and_their_spread_is_told():
    key = {"method": "m", "backbone": "b", "view": "joined", "class": "abnormal"}
    rows = [
        {**key, "seed": s, "normal": 5, "abnormal": 2, "roc_auc": v}
        for s, v in ((0, 0.7), (1, 0.9))
    ]
    rows.append({**key, "method": "other", "seed": 0, "normal": 5, "abnormal": 2, "roc_auc": 1.0})
    table = summarise(pd.DataFrame(rows)).set_index("method")
    assert list(table.index) == ["m", "other"]
    assert table["roc_auc"].tolist() == pytest.approx([0.8, 1.0])
    assert table.loc["m", "roc_auc_sd"] == pytest.approx(0.2 / 2**0.5)
    assert pd.isna(table.loc["other", "roc_auc_sd"])
    assert table["seeds"].tolist() == [2, 1]
    assert table["normal"].tolist() == [5, 5]


@pytest.mark.parametrize(
    ("more", "missing"), [({"reference": "no"}, "reference"), ({"reference": "yes"}, "truth with")]
)
def test_what_is_missing_is_said(more, missing):
    row = {"field": "a", "reference_nuclei": "", "truth": "", **more}
    with pytest.raises(UserError, match=f"no field has a {missing}"):
        split_fields([row])
