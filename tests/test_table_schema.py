"""Descriptions of the tables against the tables themselves."""

import pandas as pd
import pyarrow.parquet as pq

from cellsieve.aggregation import totals_table
from cellsieve.calling.calls import call_types
from cellsieve.cell_table import cell_columns
from cellsieve.pseudo_labelling.prompted import SAM_MASKS
from cellsieve.pseudo_labelling.prompts import PROMPTS
from cellsieve.pseudo_labelling.pseudo_labels import COLUMNS
from cellsieve.table_schema import table_schema
from cellsieve.tables import ANOMALY, MEASUREMENTS, SIGNALS, read_table, write_table

PROBES = ["aqua", "red_2"]


def by_name(columns):
    return {field["name"]: field for field in table_schema(columns)["fields"]}


def test_every_column_of_cells_has_a_type_and_a_meaning():
    fields = by_name(cell_columns(PROBES))
    assert list(fields) == cell_columns(PROBES)
    assert all(field["description"] for field in fields.values())
    kinds = {name: fields[name]["type"] for name in ("cell", "y_px", "overlapping", "call")}
    assert kinds == {
        "cell": "integer", "y_px": "number", "overlapping": "boolean", "call": "string",
    }  # fmt: skip
    assert (fields["red_2"]["type"], fields["red_2_state"]["type"]) == ("integer", "string")
    assert "red_2" in fields["red_2"]["description"]


def test_units():
    fields = by_name(["y_um", "area_um2", "area_px", "volume_ul", "dapi_sum", "cell"])
    units = [field.get("unit") for field in fields.values()]
    assert units == ["µm", "µm²", "px²", "µl", "camera counts", None]


def test_what_the_sheet_passes_on_is_text():
    assert by_name(["x_plate"])["x_plate"]["type"] == "string"


def test_every_column_of_the_summaries_has_a_meaning():
    from cellsieve.fish.false_cacs import ErrorRate

    fields = pd.DataFrame(
        columns=["field", "slide", "patient", "status", "nuclei", "assessable", "assessable_fish",
                 "assessable_cac", "suspicious", "cac"]
    )  # fmt: skip
    for by in ("slide", "patient"):
        table = totals_table(fields, by, {}, ErrorRate(0, 1000, "simulated"), 3, 1000)
        assert all(field["description"] for field in by_name(table).values())


def test_every_column_between_the_stages_says_what_it_is(tmp_path):
    path = tmp_path / "t.parquet"
    tables = (MEASUREMENTS, SIGNALS, ANOMALY, PROMPTS, SAM_MASKS, COLUMNS, call_types(PROBES))
    for columns in tables:
        write_table(path, pd.DataFrame(columns=list(columns)), columns)
        schema = pq.read_schema(path)
        assert all(field.metadata[b"description"] for field in schema), columns
        assert list(read_table(path)) == list(columns)
    assert b"red_2" in schema.field("red_2_state").metadata[b"description"]


def test_units_between_the_stages_and_a_probe_named_like_a_column(tmp_path):
    path = tmp_path / "t.parquet"
    write_table(path, pd.DataFrame(columns=list(SIGNALS)), SIGNALS)
    schema = pq.read_schema(path)
    units = [schema.field(name).metadata.get(b"unit") for name in ("size_px", "height", "contrast")]
    assert units == [b"px", b"camera counts", None]
    types = call_types(["fill"])
    write_table(path, pd.DataFrame(columns=list(types)), types)
    assert b"probe fill" in pq.read_schema(path).field("fill").metadata[b"description"]
