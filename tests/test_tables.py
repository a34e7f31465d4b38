"""Tables hold what they promise, no more and no less; so do manifests."""

import numpy as np
import pandas as pd
import pytest

from cellsieve.errors import UserError
from cellsieve.manifest import read_manifest
from cellsieve.tables import ANOMALY, MEASUREMENTS, SIGNALS, read_notes, read_table, write_table

COLUMNS = {"cell": "int64", "name": "string", "count": "Int64", "share": "float64"}


def frame():
    return pd.DataFrame(
        {"share": [0.5, np.nan], "cell": [1, 2], "count": [3, None], "name": ["µ", None]}
    )


def test_order_types_gaps_and_notes_survive(tmp_path):
    write_table(tmp_path / "t.parquet", frame(), COLUMNS, ["a note", "größer"])
    read = read_table(tmp_path / "t.parquet")
    assert dict(read.dtypes.astype(str)) == COLUMNS
    assert list(read) == list(COLUMNS)
    assert read.loc[0].tolist() == [1, "µ", 3, 0.5]
    assert read.loc[1].isna().tolist() == [False, True, True, True]
    assert read_notes(tmp_path / "t.parquet") == ["a note", "größer"]


@pytest.mark.parametrize("columns", [MEASUREMENTS, SIGNALS, ANOMALY])
def test_an_empty_table_has_its_types(tmp_path, columns):
    write_table(tmp_path / "t.parquet", pd.DataFrame(), columns)
    read = read_table(tmp_path / "t.parquet")
    assert len(read) == 0
    assert dict(read.dtypes.astype(str)) == columns
    assert read_notes(tmp_path / "t.parquet") == []


@pytest.mark.parametrize(
    "wrong", [frame().drop(columns="share"), frame().assign(surprise=1)], ids=["less", "more"]
)
def test_other_columns_are_refused_and_the_old_table_stays(tmp_path, wrong):
    write_table(tmp_path / "t.parquet", frame(), COLUMNS)
    old = (tmp_path / "t.parquet").read_bytes()
    with pytest.raises(ValueError, match="not as promised"):
        write_table(tmp_path / "t.parquet", wrong, COLUMNS)
    assert [p.name for p in tmp_path.iterdir()] == ["t.parquet"]
    assert (tmp_path / "t.parquet").read_bytes() == old


def test_a_gap_where_none_may_be_is_refused(tmp_path):
    with pytest.raises(ValueError, match="NA"):
        write_table(tmp_path / "t.parquet", frame().assign(cell=[1, None]), COLUMNS)
    assert not list(tmp_path.iterdir())


def test_same_table_same_bytes(tmp_path):
    for name in "ab":
        write_table(tmp_path / name, frame(), COLUMNS, ["note"])
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_manifest_keeps_text_as_it_is(tmp_path):
    path = tmp_path / "m.tsv"
    path.write_text("field\tpatient\tnote\na\tNA\t\nb\t007\t$(rm) ; µ\n", encoding="utf-8")
    rows = read_manifest(path, ["field"])
    assert rows[0] == {"field": "a", "patient": "NA", "note": ""}
    assert rows[1] == {"field": "b", "patient": "007", "note": "$(rm) ; µ"}


@pytest.mark.parametrize(
    ("text", "complaint"),
    [("field\na\n", "no column image"), ("", "no column"), ("field\timage\na\n", "row 2: 1 cells")],
)
def test_a_broken_manifest_is_named(tmp_path, text, complaint):
    (tmp_path / "m.tsv").write_text(text)
    with pytest.raises(UserError, match=complaint):
        read_manifest(tmp_path / "m.tsv", ["field", "image"])
