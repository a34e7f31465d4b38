"""The report, made by its command line from the files of a small run of drawn nuclei."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from report_runs import EVIL, PROBES, SCRIPT, Run, check, write_thumbnails

from cellsieve.cell_table import cell_columns


@pytest.fixture(scope="module")
def full(tmp_path_factory):
    run = Run(tmp_path_factory.mktemp("run"), ("ok", "flagged", "rejected", "empty"))
    cells = run.cells
    cells.loc[4, ["anomaly_score", "call", "reasons"]] = [
        9.0,
        "suspicious",
        "q 0.01 & <b>large</b>",
    ]
    cells.loc[9, ["anomaly_score", "call"]] = [99.0, "not_assessable"]
    cells.loc[12, ["fish_call", "green", "green_state", "red", "red_state"]] = [
        *["cac", 3, "gain", 4, "gain"]
    ]
    cells.loc[12, "anomaly_score"] = 0.0
    run.fields[0] |= {"x_note": EVIL, "x_<b>": "1e400", "x_dish": "0012", "focus": "0.123456"}
    run.fields[1]["reason"] = "out of focus"
    html = run.report("--top", "5")
    return run, html, check(html)


def test_the_page_is_self_contained_and_says_the_bad_news_first(full):
    _, html, page = full
    news = html.index("1 rejected, 1 empty and 1 flagged of 4 fields")
    assert news < html.index('class="tiles"')
    assert "the file is truncated" in page.text
    assert "out of focus" in page.text
    assert "field_2" in page.text


def test_nothing_from_outside_becomes_html(full):
    _, html, page = full
    assert EVIL not in html
    assert EVIL in page.text
    assert "q 0.01 & <b>large</b>" in page.text
    assert "a note & more" in page.text


def test_text_of_the_sheet_is_shown_as_it_is_and_numbers_are_short(full):
    _, html, page = full
    assert '<td class="short" data-value="0012">0012</td>' in html
    assert '<td class="n" data-value="0.123456">0.1235</td>' in html
    assert all(text in page.text for text in ("1e400", "0034"))  # the latter of the record


def test_each_slide_may_have_a_reference_of_its_own(tmp_path):
    run = Run(tmp_path, ("ok", "ok", "ok"))
    second = run.cells["slide"] == "slide_1"
    run.cells.loc[second, ["nearest_reference_1", "nearest_reference_2"]] = ["own:1", "own:7"]
    write_thumbnails(tmp_path / "own.zarr.zip", ["own:1", "own:7"], 200)
    html = run.report("--top", "200", "--reference-thumbnails", str(tmp_path / "own.zarr.zip"))
    check(html)
    shown = dict(re.findall(r'<img src="([^"]+)" alt="Reference nucleus (\w+):', html))
    assert sorted(shown.values()) == ["own", "ref"]
    assert html.count("Reference nucleus own:7") == second.sum()
    assert html.count("Reference nucleus ref:2") == (~second).sum()


def test_the_heat_map_is_grey_where_there_is_no_score():
    from cellsieve.report.pictures import heat_limits, heat_picture

    scores = np.full((7, 9), np.nan, np.float32)
    scores[4, 0], scores[4, 3], scores[5, 8] = 1, 1, 3
    limits = heat_limits([scores, np.full((2, 2), np.nan)])
    assert limits == pytest.approx((1, 3), abs=0.01)
    for picture, place in (
        (heat_picture(scores, limits, 9), (5, 8)),
        (heat_picture(scores, limits, 5), (2, 4)),
    ):
        grey = (picture == 150).all(axis=2)
        assert (~grey).sum() == 3
        assert picture[place].min() > 150  # the one high score, undiluted where blocks are shrunk
    assert (heat_picture(np.full((2, 2), np.nan), limits, 4) == 150).all()


def test_the_gallery_ranks_assessable_nuclei_and_shows_each_once(full):
    run, html, _ = full
    assessable = run.cells[run.cells.call != "not_assessable"]
    first = assessable.sort_values("anomaly_score", ascending=False).head(5)
    shown = re.findall(r'id="nucleus-(field_\d)-(\d+)"', html)
    expected = [(row.field, str(row.cell)) for row in first.itertuples()]
    cac = run.cells.loc[12]
    assert shown == [*expected, (cac.field, str(cac.cell))]
    assert shown[0] == (run.cells.loc[4].field, str(run.cells.loc[4].cell))


def test_each_nucleus_has_its_pictures_and_a_scale_bar(full):
    _, html, page = full
    card = html[html.index('<article class="card"') : html.index("</article>")]
    assert card.count("<img") == 4  # DAPI, probes, two reference nuclei
    assert "white bar 5 µm" in card
    assert sum("Overview of field" in image["alt"] for image in page.images) == 3


def test_the_summary_counts_are_those_of_the_table(full):
    run, _, page = full
    text = " ".join(page.text.split())
    assert f"{len(run.cells)}nuclei" in text
    assert f"{(run.cells.call != 'not_assessable').sum()}assessable" in text
    assert "1suspicious" in text
    # of the 20 nuclei of each of two slides in which one could be told
    assert "1CAC by FISH (2.5 %)" in text


def test_every_column_of_the_tables_is_explained(full):
    _, html, _ = full
    definitions = html[html.index('id="definitions"') : html.index('id="provenance"')]
    for column in (*cell_columns(PROBES), "status", "reason", "x_note"):
        assert f"<dt>{column}</dt>" in definitions


def test_the_same_files_give_the_same_page(full):
    run, html, _ = full
    assert run.report("--top", "5") == html


def test_reading_in_parts_changes_nothing(full, monkeypatch):
    from cellsieve.report import inputs

    path = full[0].folder / "cells.csv"
    whole = inputs.scan_cells(path, PROBES, 7)
    monkeypatch.setattr(inputs, "ROWS", 11)
    parts = inputs.scan_cells(path, PROBES, 7)
    assert parts.ranked.astype(str).equals(whole.ranked.astype(str))
    assert parts.counts.equals(whole.counts)
    assert parts.typical_dna == whole.typical_dna


def test_maps_of_the_run_lead_to_their_fields(full):
    _, html, page = full
    section = html[html.index('id="distribution"') : html.index('id="fish"')]
    assert "Where the suspicious nuclei lie" in page.headings
    assert [image["alt"] for image in page.images if "across" in image["alt"]] == [
        "Share of suspicious nuclei across field field_0",
        "Share of suspicious nuclei across field field_1",
    ]
    assert '<a href="#field-field_0">field_0</a>: 1 of ' in section
    assert section.count("<h3>") == 1


def test_a_field_unlike_the_reference_does_not_fill_the_gallery(tmp_path):
    """All its nuclei score high and have no p; what is called of them is shown, too."""
    run = Run(tmp_path, ("ok", "ok", "ok"))
    unlike = run.cells["slide"] == "slide_1"
    run.cells.loc[unlike, "anomaly_score"] += 50
    run.cells.loc[unlike, ["anomaly_p", "anomaly_q"]] = np.nan
    called = run.cells.index[unlike][2]
    run.cells.loc[called, "call"] = "suspicious"
    html = run.report("--top", "4")
    check(html)
    ranked = re.findall(r'id="nucleus-(field_\d)-(\d+)"', html)
    assert ranked[0] == ("field_2", str(run.cells.loc[called, "cell"]))
    assert {field for field, _ in ranked[1:]} == {"field_0", "field_1"}


def test_nothing_suspicious_no_probes_no_reference(tmp_path):
    run = Run(tmp_path, ("ok",), probes=(), reference=False)
    page = check(run.report("--top", "3"))
    assert "No nucleus was called suspicious" in page.text
    assert "no reference was learned" in page.text
    assert "No field was rejected, empty or flagged" in page.text
    assert "FISH" not in page.headings
    assert "no FISH probes" in page.text


def test_all_fields_rejected(tmp_path):
    run = Run(tmp_path, ("rejected", "rejected"))
    run.patients = []
    page = check(run.report())
    assert "2 rejected, 0 empty and 0 flagged of 2 fields" in page.text
    assert "There is no ranking" in page.text


def test_nuclei_without_scores_or_pixel_size(tmp_path):
    run = Run(tmp_path, ("ok",), reference=False)
    run.cells[["anomaly_score", "anomaly_z"]] = np.nan
    run.cells["call"] = "not_assessable"
    run.cells.loc[3, "fish_call"] = "cac"
    qc = json.loads(Path(run.manifest[0]["qc"]).read_text())
    Path(run.manifest[0]["qc"]).write_text(json.dumps({**qc, "pixel_size_um": None}))
    page = check(run.report())
    assert "There is no ranking" in page.text
    assert "white bar" not in page.text
    assert "field_0" in page.text


def test_a_failed_probe_is_told_at_the_top(tmp_path):
    run = Run(tmp_path, ("ok",))
    path = Path(run.manifest[0]["slide_summary"])
    summary = json.loads(path.read_text())
    summary["probes"]["green"] |= {"status": "failed", "reason": "no signals stand out"}
    path.write_text(json.dumps(summary))
    html = run.report("--top", "1")
    page = check(html)
    assert "slide slide_0, green: no signals stand out" in page.text
    assert html.index("no signals stand out") < html.index('class="tiles"')


def test_names_that_look_like_missing_values_are_names(tmp_path):
    run = Run(tmp_path, ("ok",))
    run.cells["patient"] = "NA"
    page = check(run.report("--top", "1"))
    assert "patient NA" in page.text


def test_field_pictures_shrink_with_the_number_of_fields():
    from cellsieve.report.fields import picture_size

    assert picture_size(1) == picture_size(12) == 1000
    assert picture_size(48) == 500
    assert picture_size(10_000) == 320


@pytest.mark.parametrize("column", [*cell_columns(["aqua"]), "status", "cac_rate", "fields_ok"])
def test_every_column_is_described_in_the_documentation(column):
    text = (SCRIPT.parents[1] / "docs" / "outputs.md").read_text(encoding="utf-8")
    assert f"`{column}`" in text


def test_only_columns_that_a_table_has_are_defined():
    from cellsieve.columns import DEFINITIONS, NUMBERS

    text = (SCRIPT.parents[1] / "docs" / "outputs.md").read_text(encoding="utf-8")
    named = {column.removesuffix("_low").removesuffix("_high") for column in DEFINITIONS}
    assert [column for column in sorted(named) if f"`{column}`" not in text] == []
    assert set(DEFINITIONS) >= NUMBERS


def test_numbers_are_shown_short_and_shares_in_per_cent():
    from cellsieve.report.page import number, share

    shown = [number(v) for v in (None, "", "12345", 0.00012345, "abc", 1234.56, True, "inf", 2.0)]
    assert shown == ["–", "–", "12\u202f345", "0.0001234", "abc", "1235", "yes", "inf", "2"]
    assert [share(*v) for v in ((1, 0), (35, 35), (1, 300), (0, 5))] == [
        *["", "(100 %)", "(0.33 %)", "(0 %)"]
    ]
