"""Read a field by tile, whatever its format; nothing about it is guessed.

The decoder that a file needs, and no other, is imported when the file is opened.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cellsieve.errors import BadFieldError, UserError
from cellsieve.images.layers import Plane, Source, find_channel, only_plane, split_channels

CHANNEL = "{channel}"


@dataclass(frozen=True)
class FieldImage:
    """An open field: what it is, and its planes to read from.

    Attributes
    ----------
    shape : tuple of int
        Height and width in pixels.
    dtype : numpy.dtype
        Of the first channel; uint8, uint16 or a float type.
    channels, missing : tuple of str
        The roles that the field has, and those asked for that it lacks.
    available : tuple of str
        The names of all channels of the file, in order; a channel without a
        name is called by its index.
    pixel_size_um : float or None
        What the file states, in µm per pixel; None when it states nothing
        that can be believed.
    notes : list of str
        What a reader of the results should know about how the file was read.
    """

    shape: tuple[int, int]
    dtype: np.dtype
    channels: tuple[str, ...]
    missing: tuple[str, ...]
    available: tuple[str, ...]
    pixel_size_um: float | None
    notes: list[str]
    planes: Mapping[str, Plane]

    def plane(self, role: str) -> Plane:
        """Return the plane of a role; slice it as ``plane[y0:y1, x0:x1]``."""
        return self.planes[role]


@contextmanager
def open_field(
    image: str | Path, channels: Mapping[str, str | int], projection: str = "refuse"
) -> Iterator[FieldImage]:
    """Open a field for reading by tile.

    Parameters
    ----------
    image : path-like
        A file, an OME-Zarr folder, or a pattern with ``{channel}`` for one
        file a channel.
    channels : mapping of str to str or int
        Role to the literal name of its channel, or to its index counted from
        0. A name wins over an index. The first role is required.
    projection : {"refuse", "max"}
        What to do with a z-stack: refuse it, or take the maximum over z, tile
        by tile.

    Yields
    ------
    FieldImage

    Raises
    ------
    BadFieldError
        When the image cannot be decoded or used; also later, when a tile of a
        plane turns out to be damaged.
    UserError
        When the reader that the format needs is not installed.
    OSError
        When a file is missing or cannot be read.
    """
    with ExitStack() as stack:
        if CHANNEL in str(image):
            yield _open_files(stack, str(image), channels, projection)
        else:
            yield _open_one(stack, Path(image), channels, projection)


@contextmanager
def open_all(path: str | Path) -> Iterator[FieldImage]:
    """Open one file with all its channels, each under the file's own name for it.

    To look at what a file holds: z is projected, and an axis that the file
    does not explain counts as channels; both are noted.

    Raises
    ------
    BadFieldError, UserError, OSError
        As `open_field`.
    """
    with ExitStack() as stack:
        source = _open_source(stack, Path(path))
        planes = split_channels(source, "max", None)
        names = tuple(planes)
        yield _field(source, dict(zip(names, names, strict=True)), planes, names)


def image_files(image: str | Path, channels: Mapping[str, str | int]) -> list[Path]:
    """Return the files (or the folder) that a field consists of; none is opened.

    Parameters
    ----------
    image : path-like
        As for `open_field`.
    channels : mapping of str to str or int
        As for `open_field`; used where ``image`` holds ``{channel}``.
    """
    if CHANNEL not in str(image):
        return [Path(image)]
    return [Path(str(image).replace(CHANNEL, str(name))) for name in channels.values()]


def image_sha256(files: Sequence[Path]) -> str:
    """Digest the content of a field's files.

    Parameters
    ----------
    files : sequence of Path
        What `image_files` returned. A folder stands for all files in it.

    Returns
    -------
    str
        Of one file, its SHA-256; of several, the SHA-256 of the sorted lines
        ``"{name} {SHA-256}"``, where names are relative to a folder. Moving
        the files changes nothing.
    """
    if len(files) == 1 and not files[0].is_dir():
        return _digest(files[0])
    lines = []
    for path in files:
        inside = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
        root = path if path.is_dir() else path.parent
        lines += [f"{p.relative_to(root).as_posix()} {_digest(p)}\n" for p in inside]
    return hashlib.sha256("".join(sorted(lines)).encode()).hexdigest()


def parse_channels(options: Sequence[str]) -> dict[str, str]:
    """Turn ``role=channel`` options of a command line into a mapping, in order.

    Raises
    ------
    UserError
        When an option has no ``=``, nothing on one side of it, or a role twice.
    """
    channels: dict[str, str] = {}
    for option in options:
        role, _, channel = option.partition("=")
        if not role or not channel or role in channels:
            raise UserError(
                f"--channel {option}: give each role once, as role=name or role=index, "
                "for example dapi=DAPI or gold=3"
            )
        channels[role] = channel
    return channels


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _open_one(
    stack: ExitStack, path: Path, channels: Mapping[str, str | int], projection: str
) -> FieldImage:
    source = _open_source(stack, path)
    planes = split_channels(source, projection, channels)
    names = tuple(planes)
    found = {role: find_channel(names, channel, path) for role, channel in channels.items()}
    first = next(iter(channels))
    if found[first] is None:
        raise BadFieldError(
            f"{path.name} has no channel {channels[first]!r} (for {first}); "
            f"it holds {', '.join(names)}"
        )
    used = {role: planes[name] for role, name in found.items() if name is not None}
    return _field(source, channels, used, names)


def _open_files(
    stack: ExitStack, pattern: str, channels: Mapping[str, str | int], projection: str
) -> FieldImage:
    sources = {
        role: _open_source(stack, path)
        for role, path in zip(channels, image_files(pattern, channels), strict=True)
    }
    planes = {role: only_plane(source, projection) for role, source in sources.items()}
    first = next(iter(channels))
    for role, plane in planes.items():
        if plane.shape != planes[first].shape:
            raise BadFieldError(
                f"{sources[role].path.name} has {_size(plane)} and "
                f"{sources[first].path.name} {_size(planes[first])}: one field has one size"
            )
    notes = [f"{role}: {note}" for role, s in sources.items() for note in s.notes]
    names = tuple(str(name) for name in channels.values())
    field = _field(sources[first], channels, planes, names)
    field.notes[:] = notes
    return field


def _field(
    source: Source,
    channels: Mapping[str, str | int],
    planes: Mapping[str, Plane],
    available: tuple[str, ...],
) -> FieldImage:
    first = planes[next(iter(channels))]
    return FieldImage(
        shape=first.shape,
        dtype=first.dtype,
        channels=tuple(planes),
        missing=tuple(role for role in channels if role not in planes),
        available=available,
        pixel_size_um=source.pixel_size_um,
        notes=list(source.notes),
        planes=planes,
    )


def _size(plane: Plane) -> str:
    return "×".join(str(n) for n in plane.shape) + " px"


def _open_source(stack: ExitStack, path: Path) -> Source:
    """Open one file by what it contains; its name may lie."""
    if path.is_dir():
        from cellsieve.images.omezarr import open_omezarr

        return open_omezarr(path)
    with path.open("rb") as file:
        head = file.read(16)
    if head[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        from cellsieve.images.tiff import open_tiff

        return stack.enter_context(open_tiff(path))
    if head.startswith((b"\x89PNG", b"\xff\xd8\xff")):
        from cellsieve.images.picture import open_picture

        return open_picture(path)
    if head.startswith((b"ZISRAWFILE", b"\xda\xce\xbe\n", b"\x70\0\0\0")):
        from cellsieve.images.vendor import open_vendor

        return open_vendor(path)
    what = "is empty (0 bytes)" if not head else "is not an image in a format that can be read"
    raise BadFieldError(
        f"{path.name} {what}; TIFF, OME-TIFF, OME-Zarr, PNG, JPEG, CZI, ND2 and LIF can be read"
    )
