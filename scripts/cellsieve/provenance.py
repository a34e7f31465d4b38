"""Where a result comes from: digests of code, of files, and of versions."""

import ast
import hashlib
from collections.abc import Iterator
from functools import cache
from importlib import metadata
from pathlib import Path

# the scripts whose code decides the results of a run
STAGES = (
    "preprocess",
    "prompts",
    "segment_sam",
    "segment_cellpose",
    "pseudo_labels",
    "finetune_votes",
    "finetune_maskrcnn",
    "finetune_cellpose",
    "segment",
    "measure",
    "fit_anomaly",
    "build_reference",
    "score_anomaly",
    "detect_signals",
    "call_slide",
    "export_field",
    "aggregate",
    "report",
)
SCRIPTS = Path(__file__).resolve().parent.parent
# a page's template, style and script decide it as code does
_DATA = {".j2", ".css", ".js"}


def code(script: str) -> list[str]:
    """Digest a script and every project module that it imports, also indirectly.

    Parameters
    ----------
    script : str
        Name of a script without ``.py``.

    Returns
    -------
    list of str
        ``"cellsieve/tiles.py@1a2b3c4d"``, one a file, sorted. The digest is of
        the parsed code, so that a comment, a docstring or a line break changes
        nothing.
    """
    return [f"{p.relative_to(SCRIPTS).as_posix()}@{code_digest(p)}" for p in closure(script)]


def closure(script: str) -> list[Path]:
    """Return the project files that a script's imports reach, itself included, sorted."""
    found: set[Path] = set()
    waiting = [SCRIPTS / f"{script}.py"]
    while waiting:
        path = waiting.pop()
        if path not in found:
            found.add(path)
            if path.suffix == ".py":
                waiting += _project_imports(path)
    return sorted(found)


def imported_modules(path: Path) -> Iterator[str]:
    """Yield the absolute names that a file imports, wherever in it."""
    for node in ast.walk(_parse(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@cache
def code_digest(path: Path) -> str:
    """Return eight hexadecimal digits for a file's code; for other files, of their bytes."""
    if path.suffix != ".py":
        return hashlib.sha256(path.read_bytes()).hexdigest()[:8]
    tree = _parse(path)
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list) and body and _is_docstring(body[0]):
            del body[0]
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest()[:8]


def file_sha256(path: Path | str) -> str:
    """SHA-256 of a file's bytes, hexadecimal."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def versions() -> dict[str, str]:
    """Versions of those packages that decide results which are installed here."""
    names = {"numpy", "scipy", "scikit-image", "pandas", "tifffile", "imagecodecs", "zarr"}
    names |= {"torch", "torchvision", "cellpose", "segment-anything", "safetensors"}
    names |= {"scikit-learn", "timm"}
    found = {d.metadata["Name"]: d.version for d in metadata.distributions()}
    return {name: found[name] for name in sorted(names & found.keys())}


@cache
def _project_imports(path: Path) -> list[Path]:
    found = []
    for name in imported_modules(path):
        parts = name.split(".")
        if parts[0] != "cellsieve":
            continue
        # importing a.b.c also runs a/__init__.py and a/b/__init__.py
        for depth in range(1, len(parts) + 1):
            base = SCRIPTS.joinpath(*parts[:depth])
            found += [f for f in (base.with_suffix(".py"), base / "__init__.py") if f.is_file()]
            if base.is_dir():
                found += [f for f in base.iterdir() if f.suffix in _DATA]
    return found


def _parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def _is_docstring(node: ast.stmt) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )
