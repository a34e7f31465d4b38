"""The script by its command line: its own nuclei, given ones, and what it refuses."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image
from synthetic import draw_field, write_stage

import segment as script
from cellsieve.benchmarks.metrics import iou_matrix, match
from cellsieve.errors import BadFieldError, UserError
from cellsieve.planning.plan import SHIPPED
from cellsieve.stores import open_labels

SCRIPT = Path(__file__).parents[1] / "scripts" / "segment.py"
SHAPE = (330, 300)


@pytest.fixture(scope="module")
def field():
    drawn = draw_field(SHAPE, 24, 50, seed=2, background=0)
    return drawn._replace(image=np.maximum(drawn.image, 0))


@pytest.fixture
def stage(tmp_path, field):
    write_stage(tmp_path, field.image, field.labels, pixel_size_um=0.5)
    (tmp_path / "nuclei.tif").unlink()
    return tmp_path


def arguments(folder, *more):
    paths = ["--dapi", folder / "dapi.zarr.zip", "--qc", folder / "qc.json"]
    paths += ["--nuclei", folder / "nuclei.tif", "--overlay", folder / "overlay.png"]
    paths += ["--method", "coarse"]
    return [str(part) for part in (*paths, *more)]


def segment(folder, *more):
    command = [sys.executable, SCRIPT, *arguments(folder, *more)]
    return subprocess.run(command, check=False, capture_output=True, text=True)


def nuclei(folder):
    with open_labels(folder / "nuclei.tif") as labels:
        return labels[:, :]


def test_nuclei_are_found_and_the_same_bytes_again(stage, field):
    written = []
    for _ in range(2):
        done = segment(stage)
        assert done.returncode == 0, done.stderr
        written.append([(stage / n).read_bytes() for n in ("nuclei.tif", "overlay.png")])
    assert written[0] == written[1]
    assert match(iou_matrix(field.labels, nuclei(stage)), 0.6).f1 > 0.9
    picture = np.asarray(Image.open(stage / "overlay.png").convert("RGB")).astype(int)
    assert (np.ptp(picture, axis=2) > 50).any()  # coloured outlines


@pytest.mark.parametrize("status", ["rejected", "empty"])
def test_without_nuclei_the_label_image_is_valid_and_empty(tmp_path, status):
    shape = (1, 1) if status == "rejected" else SHAPE
    nothing = np.zeros(shape, np.uint32)
    write_stage(tmp_path, nothing, nothing, status=status, diameter_px=None)
    (tmp_path / "given.tif").write_bytes(b"not looked at when the field is rejected")
    more = ["--given", tmp_path / "given.tif"] if status == "rejected" else []
    done = segment(tmp_path, *more)
    assert done.returncode == 0, done.stderr
    assert nuclei(tmp_path).shape == shape
    assert not nuclei(tmp_path).any()
    assert Image.open(tmp_path / "overlay.png").size[0] >= 1


@pytest.mark.parametrize(
    ("dtype", "compression"), [(np.uint8, None), (np.uint32, "zlib"), (np.int64, "lzw")]
)
def test_given_labels_are_taken_over_with_their_numbers(stage, dtype, compression):
    numbers = np.array([0, 3, 200, 70_000, 3_000_000_000])
    numbers = numbers[numbers <= np.iinfo(dtype).max].astype(dtype)
    labels = numbers[np.random.default_rng(0).integers(0, len(numbers), SHAPE)]
    tifffile.imwrite(stage / "given.tif", labels, compression=compression)
    script.main(arguments(stage, "--given", stage / "given.tif"))
    assert nuclei(stage).dtype == np.uint32
    assert np.array_equal(nuclei(stage), labels)


@pytest.mark.parametrize(
    ("labels", "complaint"),
    [
        (np.zeros((330, 299), np.uint16), "330×300, not uint16 of 330×299"),
        (np.zeros((2, *SHAPE), np.uint16), "not uint16 of 2×330×300"),
        (np.zeros(SHAPE, np.float32), "not float32"),
        (np.full(SHAPE, -1, np.int16), "between 0 and 4294967295"),
        (np.full(SHAPE, 2**32, np.int64), "between 0 and 4294967295"),
    ],
    ids=["size", "pages", "float", "negative", "large"],
)
def test_labels_that_cannot_be_are_refused(stage, labels, complaint):
    tifffile.imwrite(stage / "given.tif", labels)
    with pytest.raises(UserError, match=complaint):
        script.main(arguments(stage, "--given", stage / "given.tif"))
    assert not (stage / "nuclei.tif").exists()


@pytest.mark.parametrize("kind", ["text", "png", "cut short"])
def test_files_that_are_no_label_image_are_refused(stage, field, kind):
    path = stage / "given.tif"
    if kind == "png":
        Image.fromarray(field.labels.astype(np.uint8)).save(path, format="png")
    else:
        tifffile.imwrite(path, field.labels)
        content = path.read_bytes()
        path.write_bytes(b"cell\n1\n" if kind == "text" else content[: len(content) // 2])
    with pytest.raises(BadFieldError, match=r"given\.tif"):
        script.main(arguments(stage, "--given", path))
    assert not (stage / "nuclei.tif").exists()


def test_a_mistake_is_one_line(stage):
    tifffile.imwrite(stage / "given.tif", np.zeros((5, 5), np.uint8))
    done = segment(stage, "--given", stage / "given.tif")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert done.stderr.strip().splitlines()[-1].startswith("error: ")


def test_a_missing_file_is_a_fault_that_may_pass(stage):
    done = segment(stage, "--given", stage / "none.tif")
    assert done.returncode == 1
    assert "none.tif" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_network_that_ships_finds_nuclei(stage, field):
    weights = SHIPPED / "votes.safetensors"
    done = segment(stage, "--method", "votes", "--weights", weights, "--threads", 1)
    assert done.returncode == 0, done.stderr
    assert match(iou_matrix(field.labels, nuclei(stage)), 0.6).f1 > 0.9


def test_a_network_without_weights_is_refused(stage):
    done = segment(stage, "--method", "votes")
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        "error: --weights is needed: those of votes (or take --method coarse)"
    ]


def test_weights_of_another_engine_are_refused(stage):
    weights = SHIPPED / "votes.safetensors"
    done = segment(stage, "--method", "maskrcnn", "--weights", weights)
    assert done.returncode == 2
    assert "weights of the engine votes, but maskrcnn is asked for" in done.stderr
