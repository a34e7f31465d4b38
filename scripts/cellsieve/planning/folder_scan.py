"""Look through a folder of images and propose the rows of a sheet."""

import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

from cellsieve.errors import BadFieldError, UserError
from cellsieve.images import FieldImage, open_all, open_field

# What tells the files of one field apart. Words may stand anywhere, short ones
# only after a separator.
_WORDS = (
    r"dapi|hoechst(?:\d+)?|fitc|e?[gr]fp|mcherry|tritc|texas ?red|cy[357]|alexa ?\d{3}|aqua|gold|"
    r"green|red|blue|gr[ae]y|orange|yellow|cyan|magenta"
)
_SHORT = r"[rgb]|c\d{1,2}|ch\d{1,2}|channel ?\d{1,2}|w\d\w*|[34567]\d\d(?:nm)?"
_TOKEN = re.compile(
    rf"(?:[ _.-](?:{_SHORT}|{_WORDS})|(?:{_WORDS}))+(?=$|[ _.-])", flags=re.IGNORECASE
)
_SUFFIX = re.compile(r"(\.ome)?\.(tiff?|btf|png|jpe?g|zarr|czi|nd2|lif)$", flags=re.IGNORECASE)
# Neighbouring pixels of objects are equal this often in label images (measured: at least 0.96)
# and never in photographs (at most 0.89)
LABELS_EQUAL = 0.93
PROBE = 1024


@dataclass(frozen=True)
class Row:
    """A proposed row.

    Attributes
    ----------
    field, slide : str
        Valid names; ``slide`` may be empty.
    image : str
        A path or a pattern with ``{channel}``.
    channels : tuple of str
        The names of its channels.
    shape : tuple of int
        Height and width in pixels.
    pixel_size_um : float or None
    notes : tuple of str
        What was noticed on reading it.
    """

    field: str
    slide: str
    image: str
    channels: tuple[str, ...]
    shape: tuple[int, int]
    pixel_size_um: float | None
    notes: tuple[str, ...]


def scan(folder: Path) -> tuple[list[Row], list[str]]:
    """Propose a row for each image, or group of per-channel files, under a folder.

    Parameters
    ----------
    folder : Path
        Searched with its subfolders; hidden files and folders are not.

    Returns
    -------
    rows : list of Row
        In the order of their paths.
    remarks : list of str
        What was left out and what was inferred, one line each.

    Raises
    ------
    UserError
        When the folder does not exist or holds no image.
    """
    if not folder.is_dir():
        raise UserError(f"no such folder: {folder}")
    remarks: list[str] = []
    rows = []
    for path in tqdm(list(_candidates(folder)), desc="images", unit="file", disable=None):
        row, remark = _look(path)
        rows += [row] if row else []
        remarks += [f"left out: {path}: {remark}"] if remark else []
    if not rows:
        why = f"; {remarks[0]}" if remarks else ""
        raise UserError(f"{folder}: no usable image among {len(remarks)} files{why}")
    rows = sorted(_group(rows, remarks), key=lambda row: row.image)
    return _name(rows, remarks), remarks + _observations(rows)


def propose_channels(rows: Sequence[Row]) -> list[str]:
    """Return the lines of a ``channels:`` section for the most common set of channels.

    Parameters
    ----------
    rows : sequence of Row

    Returns
    -------
    list of str
        YAML behind ``# ``, then a remark for each field that has other channels.
    """
    counts = Counter(row.channels for row in rows)
    names = max(counts, key=lambda names: (counts[names], len(names)))
    stain = [name for name in names if re.search(r"dapi|hoechst|dna|\b405", name, re.IGNORECASE)]
    first = stain[0] if len(stain) == 1 else names[0]
    ordered = [first, *(name for name in names if name != first)]
    lines = [f"# channels:  # as in {counts[names]} of {len(rows)} fields"]
    for number, name in enumerate(ordered):
        unsure = "  # nothing says which channel is DAPI: check" if len(stain) != 1 else ""
        role = _role(name, number) if number else "dapi"
        lines.append(f"#   {role}: {_yaml(name)}{'' if number else unsure}")
    return lines + [
        f"{row.field} has other channels: {', '.join(row.channels)}"
        for row in rows
        if row.channels != names
    ]


def _candidates(folder: Path) -> Iterator[Path]:
    """Yield files and zarr folders, sorted; do not look into zarr folders or hidden ones."""
    for here, folders, files in os.walk(folder):
        stores = [d for d in folders if d.lower().endswith(".zarr")]
        folders[:] = sorted(d for d in folders if d not in stores and not d.startswith("."))
        yield from (Path(here, n) for n in sorted(files + stores) if not n.startswith("."))


def _look(path: Path) -> tuple[Row | None, str]:
    """Return a row for one file, or the reason why there is none."""
    if not str(path).isprintable() or set("{}") & set(str(path)) or str(path).strip() != str(path):
        return None, "its path has braces, control characters or outer spaces: rename it"
    try:
        with open_all(path) as image:
            if _is_labels(image):
                return None, "a label image, not a photograph"
            return _row(str(path), image.available, image), ""
    except (BadFieldError, UserError) as error:
        return None, str(error)
    except OSError as error:
        return None, error.strerror or str(error)


def _row(path: str, channels: tuple[str, ...], image: FieldImage) -> Row:
    return Row("", "", path, channels, image.shape, image.pixel_size_um, tuple(image.notes))


def _is_labels(image: FieldImage) -> bool:
    """Tell labels by their middle: objects of one number each, on zeros."""
    if len(image.available) > 1 or image.dtype.kind == "f":
        return False
    top, left = (max((n - PROBE) // 2, 0) for n in image.shape)
    pixels = image.plane(image.available[0])[top : top + PROBE, left : left + PROBE]
    both = (pixels[:, 1:] > 0) & (pixels[:, :-1] > 0)
    equal = pixels[:, 1:] == pixels[:, :-1]
    return bool(both.any() and not pixels.all() and np.mean(equal[both]) >= LABELS_EQUAL)


def _group(rows: Iterable[Row], remarks: list[str]) -> list[Row]:
    """Join the files of one folder that differ only in the name of a channel."""
    groups: dict[tuple[str, str], list[tuple[str, Row]]] = defaultdict(list)
    result = []
    for row in rows:
        folder, name = os.path.split(row.image)
        stem = _stem(name)
        tokens = list(_TOKEN.finditer(stem))
        if not tokens:
            result.append(row)
            continue
        start, end = tokens[-1].span()
        key = (os.path.join(folder, name[:start]), name[end:])  # noqa: PTH118 as in os.walk
        groups[key].append((tokens[-1].group(), row))
    for (before, after), members in groups.items():
        joined = _join(before, after, members, remarks) if len(members) > 1 else None
        result += [joined] if joined else [row for _, row in members]
    return result


def _join(
    before: str, after: str, members: Sequence[tuple[str, Row]], remarks: list[str]
) -> Row | None:
    """Return the row of a group of per-channel files, or None when it is none."""
    names = [token for token, _ in members]
    separators = {name[0] for name in names}
    if len(separators) == 1 and not names[0][0].isalnum():
        before, names = before + names[0][0], [name[1:] for name in names]
    pattern = f"{before}{{channel}}{after}"
    try:
        with open_field(pattern, {name: name for name in names}, "max") as image:
            row = _row(pattern, tuple(names), image)
    except BadFieldError as error:
        remarks.append(f"not joined: {pattern}: {error}")
        return None
    remarks.append(f"joined: {pattern} with the channels {', '.join(names)}")
    return row


def _name(rows: Sequence[Row], remarks: list[str]) -> list[Row]:
    """Give each row a valid, unique field and the slide that its folder stands for."""
    parents = [Path(row.image).parent for row in rows]
    top = Path(os.path.commonpath(parents))
    folders = {p: "-".join(p.relative_to(top).parts) for p in sorted(set(parents))}
    taken: set[str] = set()
    slides = {p: _unique(_valid(name), taken) if name else "" for p, name in folders.items()}
    if any(slides.values()):
        remarks.append("slide: taken from the name of the subfolder")
    else:
        remarks.append("slide: left empty, all images are in one folder")
    stems = [_valid(_stem(Path(row.image).name).replace("{channel}", "")) for row in rows]
    often = Counter(stem.lower() for stem in stems)
    named, taken = [], set()
    for row, parent, stem in zip(rows, parents, stems, strict=True):
        slide = slides[parent]
        field = f"{slide}_{stem}" if often[stem.lower()] > 1 and slide else stem
        named.append(replace(row, field=_unique(field, taken), slide=slide))
    return named


def _observations(rows: Sequence[Row]) -> list[str]:
    """Say what was noticed in the images, once each with the number of fields."""
    notes = Counter(note for row in rows for note in row.notes)
    lines = [f"{count} of {len(rows)} fields: {note}" for note, count in notes.items()]
    sizes = Counter(row.pixel_size_um for row in rows)
    for size, count in sizes.items():
        stated = "no pixel size in the file" if size is None else f"pixel size {size:.4g} µm"
        lines.append(f"{count} of {len(rows)} fields: {stated}")
    return lines


def _stem(name: str) -> str:
    return _SUFFIX.sub("", name)


def _valid(name: str) -> str:
    """Turn a name into one that the sheet allows."""
    cleaned = re.sub(r"[^A-Za-z0-9._-]+", "_", name)
    return cleaned.strip("._-")[:80].rstrip("._-") or "field"


def _unique(name: str, taken: set[str]) -> str:
    """Add a number to a name that is taken already, in whatever capitals."""
    candidate, number = name, 1
    while candidate.lower() in taken:
        number += 1
        candidate = f"{name}-{number}"
    taken.add(candidate.lower())
    return candidate


def _role(name: str, number: int) -> str:
    word = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")
    return word if re.match("[a-z]", word) else f"probe_{word or number}"


def _yaml(name: str) -> str:
    return name if re.fullmatch(r"\d|[1-9]\d*|[A-Za-z][\w-]*", name) else f'"{name}"'
