"""Which weight files there are, where each lies, and whether it is the one that is meant."""

import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

import yaml

from cellsieve.errors import UserError
from cellsieve.provenance import file_sha256

FOLDER = Path("resources/weights")  # as in config.yaml
MODELS = Path(__file__).parents[2] / "resources" / "models.yaml"

_NAME = "[A-Za-z0-9][A-Za-z0-9._-]*"
_TEXT = (r"(?s).*\S.*", "text")
# key: what its value, as text, must match, and how that is said
_ALLOWED = {
    "name": (_NAME, "letters, digits, '.', '_', '-'"),
    "what": _TEXT,
    "bytes": ("[1-9][0-9]*", "the size of the file, a whole number"),
    "sha256": ("[0-9a-f]{64}", "64 hexadecimal digits in small letters"),
    "licence": _TEXT,
    "citation": _TEXT,
    "url": (rf"https?://[^\s?#]+/{_NAME}(\?\S*)?", "an http(s) address that ends in a file name"),
    "path": (r".*\S.*", "a path relative to the catalogue"),
}
_SOURCES = {"url", "path"}


@dataclass(frozen=True)
class WeightFile:
    """One file of weights, as the catalogue describes it.

    Attributes
    ----------
    name : str
        What the configuration calls it.
    what, licence, citation : str
        For people.
    bytes : int
        Its size.
    sha256 : str
        Of the whole file, hexadecimal.
    url : str or None
        Where it is downloaded from; None if it ships with the project.
    path : Path or None
        Where it lies if it ships with the project.
    """

    name: str
    what: str
    bytes: int
    sha256: str
    licence: str
    citation: str
    url: str | None = None
    path: Path | None = None

    def place(self, folder: Path | str) -> Path:
        """Return where the file lies or belongs, given the folder of downloaded weights."""
        return self.path or Path(folder).expanduser() / self.file_name

    @property
    def file_name(self) -> str:
        """The name of the file; a downloaded one keeps that of its address."""
        return self.path.name if self.path else PurePosixPath(urlsplit(self.url).path).name

    def by_hand(self, folder: Path | str) -> str:
        """Say which file a person is to put where."""
        source = f"from {self.url}" if self.url else "as it came with cellsieve"
        return (
            f"put the file {self.file_name} {source} ({self.bytes} bytes, sha256 {self.sha256})"
            f" at {self.place(folder).absolute()}"
        )


def read_catalogue(models: Path | str = MODELS) -> dict[str, WeightFile]:
    """Read and check the list of weight files.

    Parameters
    ----------
    models : path-like
        A YAML list of entries, the project's own by default.

    Returns
    -------
    dict of str to WeightFile
        By name, in the order of the file.

    Raises
    ------
    UserError
        With the entry, the key and what is allowed.
    """
    models = Path(models)
    try:
        entries = yaml.safe_load(models.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{models} is not YAML: {error}") from error
    if not isinstance(entries, list):
        raise UserError(f"{models}: must be a list of entries that begin with '- name:'")
    catalogue: dict[str, WeightFile] = {}
    for number, entry in enumerate(entries, 1):
        weights = _read_entry(entry, f"{models}, entry {number}", models.parent)
        if weights.name in catalogue:
            raise UserError(f"{models}, entry {number}: the name {weights.name!r} is taken")
        catalogue[weights.name] = weights
    _require_own_files(catalogue, models)
    return catalogue


def locate(model: str, folder: Path | str, models: Path | str = MODELS) -> Path:
    """Return the weight file that the configuration means.

    Parameters
    ----------
    model : str
        A name of the catalogue, or the path of a file that exists.
    folder : path-like
        Where downloaded weights lie.
    models : path-like
        The catalogue.

    Returns
    -------
    Path
        Of a name, where its file lies or belongs: it need not be there yet.

    Raises
    ------
    UserError
        If it is neither.
    """
    catalogue = read_catalogue(models)
    if model in catalogue:
        return catalogue[model].place(folder)
    path = Path(model).expanduser()
    if not path.is_file():
        names = ", ".join(catalogue)
        raise UserError(f"model {model!r}: neither a file nor one of {names}")
    return path


def verified(model: str, folder: Path | str, models: Path | str = MODELS) -> Path:
    """Return the weight file that the configuration means, if it is there and the right one.

    Parameters and errors are those of `locate` and `check`; a file that is given
    by its path can only be there or not.
    """
    catalogue = read_catalogue(models)
    return check(catalogue[model], folder) if model in catalogue else locate(model, folder, models)


def check(weights: WeightFile, folder: Path | str) -> Path:
    """Return where a weight file lies, once it is sure that it is the right one.

    Raises
    ------
    UserError
        If it is missing or has another SHA-256: the file stays as it is, and
        the message says which file to put where.
    """
    file = weights.place(folder)
    if not file.is_file():
        raise UserError(f"{weights.name}: there is no file {file}; {weights.by_hand(folder)}")
    found = file_sha256(file)
    if found != weights.sha256:
        raise UserError(
            f"{weights.name}: {file} is another file or damaged ({file.stat().st_size} bytes,"
            f" sha256 {found}); move it away and {weights.by_hand(folder)}"
        )
    return file


def _read_entry(entry: Any, where: str, folder: Path) -> WeightFile:
    if not isinstance(entry, dict):
        raise UserError(f"{where}: must be keys and values, not {entry!r}")
    for key, value in entry.items():
        if key not in _ALLOWED:
            raise UserError(f"{where}: unknown key {key!r}; allowed: {', '.join(_ALLOWED)}")
        pattern, allowed = _ALLOWED[key]
        if not (isinstance(value, str | int) and re.fullmatch(pattern, str(value))):
            raise UserError(f"{where}: {key} is {value!r}; allowed: {allowed}")
    missing = _ALLOWED.keys() - _SOURCES - entry.keys()
    if missing:
        raise UserError(f"{where}: the key {min(missing)!r} is missing")
    if len(_SOURCES & entry.keys()) != 1:
        raise UserError(f"{where}: must have either url or path")
    values = {key: str(value) for key, value in entry.items()}
    values["bytes"] = int(entry["bytes"])
    if "path" in entry:
        values["path"] = folder / entry["path"]
    return WeightFile(**values)


def _require_own_files(catalogue: dict[str, WeightFile], models: Path) -> None:
    """Refuse two downloads that would have the same place."""
    owners: dict[str, str] = {}
    for weights in catalogue.values():
        if weights.url is None:
            continue
        other = owners.setdefault(weights.file_name, weights.name)
        if other != weights.name:
            raise UserError(
                f"{models}: {other} and {weights.name} both end in {weights.file_name};"
                " give each a file name of its own"
            )
