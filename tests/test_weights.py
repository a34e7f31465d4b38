"""The catalogue of weight files, and reading them as data."""

import argparse
import hashlib
import os
import pickle
import re

import pytest
import torch
import yaml
from safetensors.torch import save_file

from cellsieve.errors import UserError
from cellsieve.state_dicts import load_state_dict
from cellsieve.weights import MODELS, check, locate, read_catalogue

CONTENT = b"weights"
ENTRY = {
    "name": "tiny",
    "what": "seven bytes",
    "url": "https://example.org/files/tiny-1.pth?download=1",
    "bytes": len(CONTENT),
    "sha256": hashlib.sha256(CONTENT).hexdigest(),
    "licence": "CC0-1.0",
    "citation": "none",
}
SHIPPED = {k: v for k, v in ENTRY.items() if k != "url"} | {"name": "own", "path": "own.pth"}


def write(folder, *entries):
    models = folder / "models.yaml"
    models.write_text(yaml.safe_dump(list(entries)), encoding="utf-8")
    return models


def test_own_catalogue_is_valid_and_says_where_files_come_from():
    catalogue = read_catalogue()
    assert {"sam_vit_b", "sam_vit_l", "sam_vit_h"} <= catalogue.keys()
    for weights in catalogue.values():
        if weights.path is None:
            assert weights.url.startswith("https://")
        else:
            assert check(weights, "nowhere").is_relative_to(MODELS.parent)


def test_downloaded_file_lies_in_the_folder_and_shipped_one_beside_the_catalogue(tmp_path):
    catalogue = read_catalogue(write(tmp_path, ENTRY, SHIPPED))
    assert list(catalogue) == ["tiny", "own"]
    assert catalogue["tiny"].place("/shared") == (tmp_path / "/shared/tiny-1.pth")
    assert catalogue["own"].place("/shared") == tmp_path / "own.pth"


def test_home_folder_is_understood(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    models = write(tmp_path, ENTRY)
    assert locate("tiny", "~/weights", models) == tmp_path / "weights" / "tiny-1.pth"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"name": "a/b"}, "name is 'a/b'"),
        ({"name": None}, "name is None"),
        ({"sha256": "abc"}, "64 hexadecimal digits"),
        ({"sha256": ENTRY["sha256"].upper()}, "small letters"),
        ({"bytes": 0}, "bytes is 0"),
        ({"bytes": 1.5}, "bytes is 1.5"),
        ({"url": "file:///etc/passwd"}, "an http(s) address"),
        ({"url": "https://example.org/"}, "ends in a file name"),
        ({"url": "https://example.org/.."}, "ends in a file name"),
        ({"licence": ""}, "licence is ''"),
        ({"license": "MIT"}, "unknown key 'license'; allowed: name, what,"),
        ({"path": "here.pth"}, "either url or path"),
    ],
)
def test_mistake_in_an_entry_is_said(tmp_path, changes, said):
    models = write(tmp_path, SHIPPED, ENTRY | changes)
    with pytest.raises(UserError, match=re.escape(said)) as error:
        read_catalogue(models)
    assert f"{models}, entry 2" in str(error.value)


@pytest.mark.parametrize("key", ["name", "what", "bytes", "sha256", "licence", "citation"])
def test_missing_key_is_said(tmp_path, key):
    models = write(tmp_path, {k: v for k, v in ENTRY.items() if k != key})
    with pytest.raises(UserError, match=f"entry 1: the key '{key}' is missing"):
        read_catalogue(models)


def test_entry_without_source_is_refused(tmp_path):
    models = write(tmp_path, {k: v for k, v in ENTRY.items() if k != "url"})
    with pytest.raises(UserError, match="either url or path"):
        read_catalogue(models)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("- name: [", "is not YAML"),
        ("tiny: 1", "must be a list"),
        ("", "must be a list"),
        ("- tiny", "entry 1: must be keys and values, not 'tiny'"),
    ],
)
def test_catalogue_of_another_form_is_refused(tmp_path, text, said):
    (tmp_path / "models.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=said):
        read_catalogue(tmp_path / "models.yaml")


def test_name_used_twice_is_refused(tmp_path):
    with pytest.raises(UserError, match="entry 2: the name 'tiny' is taken"):
        read_catalogue(write(tmp_path, ENTRY, ENTRY))


def test_two_files_in_one_place_are_refused(tmp_path):
    other = ENTRY | {"name": "other", "url": "https://example.com/x/tiny-1.pth"}
    with pytest.raises(UserError, match=r"tiny and other both end in tiny-1\.pth"):
        read_catalogue(write(tmp_path, ENTRY, other))


def test_model_is_a_name_or_a_file(tmp_path):
    models = write(tmp_path, ENTRY, SHIPPED)
    own = tmp_path / "own checkpoint.pth"
    own.touch()
    assert locate("own", "w", models) == tmp_path / "own.pth"
    assert locate(str(own), "w", models) == own
    with pytest.raises(UserError, match="'big': neither a file nor one of tiny, own"):
        locate("big", "w", models)


def test_check_accepts_only_the_file_that_is_meant(tmp_path):
    weights = read_catalogue(write(tmp_path, ENTRY))["tiny"]
    file = tmp_path / "tiny-1.pth"
    with pytest.raises(UserError, match=f"there is no file {file}; put the file tiny-1.pth from"):
        check(weights, tmp_path)
    file.write_bytes(CONTENT[::-1])
    with pytest.raises(UserError, match="another file or damaged") as error:
        check(weights, tmp_path)
    assert hashlib.sha256(CONTENT[::-1]).hexdigest() in str(error.value)
    assert ENTRY["sha256"] in str(error.value)
    assert file.read_bytes() == CONTENT[::-1]
    file.write_bytes(CONTENT)
    assert check(weights, tmp_path) == file


TENSORS = {"a.weight": torch.arange(6.0).reshape(2, 3), "a.bias": torch.tensor([1, -2])}


class Evil:
    """Runs a command when it is unpickled."""

    def __init__(self, command):
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


def old_torch(content, path):
    torch.save(content, path, _use_new_zipfile_serialization=False)


SAVERS = {"new.pth": torch.save, "old.pth": old_torch, "new.safetensors": save_file}


@pytest.mark.parametrize("name", SAVERS)
def test_tensors_come_back(tmp_path, name):
    SAVERS[name](TENSORS, tmp_path / name)
    read = load_state_dict(tmp_path / name)
    assert read.keys() == TENSORS.keys()
    assert all(torch.equal(read[key], TENSORS[key]) for key in TENSORS)
    assert all(read[key].dtype == TENSORS[key].dtype for key in TENSORS)


@pytest.mark.parametrize("save", [torch.save, old_torch])
def test_pickle_that_carries_code_is_refused_before_it_runs(tmp_path, save):
    done = tmp_path / "done"
    save(TENSORS | {"evil": Evil(f"touch {done}")}, tmp_path / "evil.pth")
    with pytest.raises(UserError, match=r"evil\.pth refused.*would run code.*\.system") as error:
        load_state_dict(tmp_path / "evil.pth")
    assert "\n" not in str(error.value)
    assert ".safetensors" in str(error.value)
    assert not done.exists()


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_bare_pickle_that_carries_code_is_refused_before_it_runs(tmp_path, protocol):
    done = tmp_path / "done"
    (tmp_path / "evil.pth").write_bytes(pickle.dumps(Evil(f"touch {done}"), protocol))
    with pytest.raises(UserError, match=r"evil\.pth"):
        load_state_dict(tmp_path / "evil.pth")
    assert not done.exists()


def test_pickled_object_beside_the_weights_is_refused(tmp_path):
    torch.save({"model": TENSORS, "args": argparse.Namespace(lr=1)}, tmp_path / "run.pth")
    with pytest.raises(UserError, match=r"would run code \(argparse\.Namespace\)"):
        load_state_dict(tmp_path / "run.pth")


@pytest.mark.parametrize("content", [[1, 2], {"model": TENSORS, "epoch": 3}, TENSORS["a.bias"]])
def test_what_is_no_state_dict_is_refused(tmp_path, content):
    torch.save(content, tmp_path / "other.pth")
    with pytest.raises(UserError, match="something else than a model's tensors"):
        load_state_dict(tmp_path / "other.pth")


@pytest.mark.parametrize("name", SAVERS)
def test_truncated_file_is_said(tmp_path, name):
    SAVERS[name](TENSORS, tmp_path / name)
    whole = (tmp_path / name).read_bytes()
    for length in {0, 1, 7, 8, 50, len(whole) // 2, len(whole) - 30, len(whole) - 1}:
        (tmp_path / name).write_bytes(whole[:length])
        with pytest.raises(UserError, match="truncated, or no file of weights") as error:
            load_state_dict(tmp_path / name)
        assert "\n" not in str(error.value)


def test_page_saved_as_weights_is_said(tmp_path):
    (tmp_path / "page.pth").write_text("<html>log in</html>")
    with pytest.raises(UserError, match="truncated, or no file of weights"):
        load_state_dict(tmp_path / "page.pth")


@pytest.mark.parametrize("name", SAVERS)
def test_missing_file_is_a_missing_file(tmp_path, name):
    with pytest.raises(FileNotFoundError):
        load_state_dict(tmp_path / name)
