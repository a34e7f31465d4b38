"""Every script's conda environment holds what it imports, at the pinned version."""

import re
import sys
from pathlib import Path

import pytest
import yaml

from cellsieve import provenance

ROOT = Path(__file__).parents[1]
SCRIPTS = sorted(path.stem for path in (ROOT / "scripts").glob("*.py"))
PACKAGE = {
    "PIL": "pillow",
    "skimage": "scikit-image",
    "sklearn": "scikit-learn",
    "yaml": "pyyaml",
    "ome_zarr": "ome-zarr",
    "segment_anything": "segment-anything",
    "pytorch_grad_cam": "grad-cam",
    "torch": "pytorch",  # its name in conda
}
# needed at run time without an import of ours: decoders of tifffile, Parquet of pandas, and
# what segment-anything imports but does not ask for
HIDDEN = {"tifffile": "imagecodecs", "pandas": "pyarrow", "segment-anything": "torchvision"}
# asked for only where a user has installed them for a vendor's format
OPTIONAL = {"bioio"}


def pinned() -> dict[str, str]:
    text = (ROOT / "requirements.txt").read_text(encoding="utf-8")
    versions = dict(re.findall(r"^([A-Za-z0-9_.-]+)==([^\s;\\]+)", text, re.MULTILINE))
    return {PACKAGE.get(name, name): version for name, version in versions.items()}


def environment(script: str) -> dict[str, str]:
    content = yaml.safe_load((ROOT / "envs" / f"{script}.yaml").read_text(encoding="utf-8"))
    assert content["channels"] == ["conda-forge", "nodefaults"]
    return dict(line.replace(" ", "").split("=", 1) for line in content["dependencies"])


def third_party(script: str) -> set[str]:
    names = {
        name.split(".")[0]
        for path in provenance.closure(script)
        if path.suffix == ".py"
        for name in provenance.imported_modules(path)
    }
    names -= set(sys.stdlib_module_names) | {"cellsieve"} | OPTIONAL
    packages = {PACKAGE.get(name, name) for name in names}
    return packages | {extra for name, extra in HIDDEN.items() if name in packages}


@pytest.mark.parametrize("script", SCRIPTS)
def test_environment_covers_the_imports_and_nothing_else(script):
    assert set(environment(script)) == third_party(script) | {"python"}


@pytest.mark.parametrize("script", SCRIPTS)
def test_environment_has_the_versions_of_requirements(script):
    versions = pinned()
    for package, version in environment(script).items():
        assert version == ("3.11" if package == "python" else versions[package])


def test_no_environment_without_a_script():
    assert sorted(path.stem for path in (ROOT / "envs").glob("*.yaml")) == SCRIPTS
