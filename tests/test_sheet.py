"""The sheet is read as spreadsheets save it; what is not clear stops with its place."""

import subprocess
import sys
from pathlib import Path

import pytest

from cellsieve.errors import UserError
from cellsieve.planning.sheet import read_sheet

PLAIN = "field\timage\tslide\na\ta.tif\ts1\nb\tb.tif\ts1\n"


def sheet(folder, text, encoding="utf-8"):
    path = folder / "fields.tsv"
    path.write_bytes(text.encode(encoding))
    return path


def rows(folder, text, encoding="utf-8"):
    return read_sheet(sheet(folder, text, encoding)).rows


def complaint(folder, text):
    path = sheet(folder, text)
    with pytest.raises(UserError) as caught:
        read_sheet(path)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert "\n" not in message
    return message.removeprefix(str(path))


def test_a_plain_sheet(tmp_path):
    text = (
        "field\timage\tslide\tpatient\ttrain\treference\tpixel_size_um\tvolume_ul\tsplit\tx_stain\n"
        "a\timg/a b.tif\ts1\tp\tYes\tno\t0.325\t1e2\ttest\tDAPI  old\n"
        "b\t/data/b_{channel}.tif\ts2\t\t\tYES\t\t\t\t\n"
    )
    first, second = rows(tmp_path, text)
    assert first == {
        "field": "a",
        "image": str(tmp_path / "img/a b.tif"),
        "slide": "s1",
        "patient": "p",
        "train": True,
        "reference": False,
        "reference_nuclei": None,
        "nuclei": None,
        "pixel_size_um": 0.325,
        "volume_ul": 100.0,
        "modality": None,
        "split": "test",
        "truth": None,
        "class": None,
        "boxes": None,
        "note": None,
        "x_stain": "DAPI old",
    }
    assert second["image"] == "/data/b_{channel}.tif"
    assert (second["train"], second["reference"], second["patient"]) == (False, True, None)
    assert second["pixel_size_um"] is None


def test_what_excel_does_to_a_sheet_changes_nothing(tmp_path):
    plain = rows(tmp_path, "field\timage\tslide\tpixel_size_um\na\ta.tif\ts1\t0.325\n")
    excel = (
        'field\timage\tslide\tpixel_size_um\t\t\r\na\t"a.tif"\t s1 \t0,325\t\t\r\n\t\t\t\t\t\r\n'
    )
    for encoding in ("utf-8", "utf-8-sig", "utf-16"):
        assert rows(tmp_path, excel, encoding) == plain


def test_rows_are_numbered_as_the_spreadsheet_shows_them(tmp_path):
    assert ", row 4, column field" in complaint(tmp_path, "field\timage\na\ta.tif\n\na b\tb.tif\n")


@pytest.mark.parametrize(
    "name", ["../up", "a b", 'a"b', "a;b", "$(b)", "-a", ".a", "µ", "a/b", "a" * 101, "a\\b"]
)
@pytest.mark.parametrize("column", ["field", "slide", "patient"])
def test_names_that_could_do_harm_are_refused(tmp_path, name, column):
    cells = {"field": "f", "slide": "s", "patient": "p", "image": "i.tif"} | {column: name}
    message = complaint(tmp_path, "\t".join(cells) + "\n" + "\t".join(cells.values()))
    assert f"row 2, column {column}" in message
    assert "allowed: at most 100 letters" in message


@pytest.mark.parametrize(
    ("column", "value", "allowed"),
    [
        ("train", "maybe", "yes or no"),
        ("reference", "1", "yes or no"),
        ("pixel_size_um", "0", "above 0"),
        ("pixel_size_um", "-1", "above 0"),
        ("pixel_size_um", "abc", "above 0"),
        ("pixel_size_um", "nan", "above 0"),
        ("pixel_size_um", "1,234.5", "above 0"),
        ("volume_ul", "inf", "above 0"),
        ("volume_ul", "1e999", "above 0"),
        ("split", "Train", "train, val or test"),
        ("modality", "stain", "fluorescence"),
        ("image", "a_{chanel}.tif", "{channel}"),
        ("truth", "a{b", "label image"),
    ],
)
def test_a_wrong_value_is_named_with_what_is_allowed(tmp_path, column, value, allowed):
    cells = {"field": "f", "image": "i.tif", column: value}
    message = complaint(tmp_path, "\t".join(cells) + "\n" + "\t".join(cells.values()))
    assert f"row 2, column {column}: " in message
    assert allowed in message


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("field\timage\tpixel_size\na\ta.tif\t1\n", "did you mean 'pixel_size_um'"),
        ("Field\timage\na\ta.tif\n", "did you mean 'field'"),
        ("field\na\n", "the column 'image' is missing"),
        ("field\timage\timage\na\ta\tb\n", "two columns 'image'"),
        ("field\t\timage\na\t\tb\n", "column 2 has no name"),
        ("field,image\na,a.tif\n", "separated by tabs"),
        ("field;image\na;a.tif\n", "separated by tabs"),
        ("", "'field' is missing"),
        ("field\timage\n\n", "no row"),
        ("field\timage\na\ta.tif\textra\n", "row 2: more cells"),
        ("field\timage\na\t\n", "row 2, column image: the cell is empty"),
        ('field\timage\na\t"a.tif\n', "quotation marks"),
        ("field\timage\na\ta.tif\nb\tb.tif\na\tc.tif\n", "row 4, column field: 'a' is in row 2"),
        ("field\timage\na\ta.tif\nA\tb.tif\n", "row 3, column field: 'A' is in row 2 with other"),
        ("field\timage\tslide\na\ta\tS\nb\tb\ts\n", "row 3, column slide"),
        ("field\timage\tslide\na\ta\tb\nb\tb\t\n", "row 3, column slide: the cell is empty"),
        (
            "field\timage\tslide\tpatient\na\ta\ts\tp\nb\tb\ts\tq\n",
            "row 3, column patient: slide 's' has q here and p in row 2",
        ),
        ("field\timage\tslide\tpatient\na\ta\ts\tp\nb\tb\ts\t\n", "none here and p in row 2"),
        (
            "field\timage\tslide\tvolume_ul\na\ta\ts\t50\nb\tb\ts\t\n",
            "row 3, column volume_ul: slide 's' has none here and 50.0 in row 2",
        ),
        (
            "field\timage\treference\treference_nuclei\na\ta\tyes\tr.tsv\n",
            "row 2, column reference_nuclei",
        ),
    ],
)
def test_a_mistake_is_named_with_its_place(tmp_path, text, words):
    assert words in complaint(tmp_path, text)


def test_a_workbook_and_another_encoding_are_told_how_to_save(tmp_path):
    for data, words in [
        (b"PK\3\4rest", "Text (tab"),
        ("field\timage\tnote\nµ".encode("cp1252"), "UTF-8"),
    ]:
        path = tmp_path / "fields.tsv"
        path.write_bytes(data)
        with pytest.raises(UserError, match=words.replace("(", r"\(")):
            read_sheet(path)


def test_a_field_without_slide_is_its_own_and_that_is_said_once(tmp_path):
    result = read_sheet(sheet(tmp_path, "field\timage\na\ta.tif\nb\tb.tif\n"))
    assert [row["slide"] for row in result.rows] == ["a", "b"]
    (warning,) = result.warnings
    assert "2 of 2 fields have no slide" in warning


def test_one_image_twice_only_warns(tmp_path):
    assert read_sheet(sheet(tmp_path, PLAIN)).warnings == []
    (warning,) = read_sheet(sheet(tmp_path, PLAIN.replace("b.tif", "a.tif"))).warnings
    assert "rows 2 and 3" in warning


def test_a_relative_sheet_gives_relative_paths(tmp_path, monkeypatch):
    (tmp_path / "run").mkdir()
    sheet(tmp_path / "run", PLAIN)
    monkeypatch.chdir(tmp_path)
    assert read_sheet("run/fields.tsv").rows[0]["image"] == "run/a.tif"
    monkeypatch.chdir(tmp_path / "run")
    assert read_sheet("fields.tsv").rows[0]["image"] == "a.tif"


def test_a_missing_sheet_is_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_sheet(tmp_path / "no.tsv")


def test_reading_a_sheet_needs_no_heavy_library():
    scripts = Path(__file__).parents[1] / "scripts"
    heavy = {"numpy", "pandas", "zarr"}
    code = f"import sys, cellsieve.planning.sheet; print({heavy} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=scripts, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "set()"
