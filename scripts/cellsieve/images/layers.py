"""From an array with named axes to one plane a channel."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from textwrap import shorten
from typing import Any

import numpy as np

from cellsieve.errors import BadFieldError
from cellsieve.tiles import tiles

UNSTATED = "?"
TILE = 1024
# µm per pixel within which a nucleus can be seen and a light microscope works
PLAUSIBLE_UM = (0.01, 5.0)
# pixels; far beyond any scanner: a damaged header
LONGEST = 1_000_000
# a tinted picture: how much the other colours may vary beside the brightest,
# or how closely they must follow it
TINT_LEAK = 0.05
TINT_CORRELATION = 0.98


@dataclass
class Source:
    """One open file or store.

    Attributes
    ----------
    path : Path
        For messages.
    array : array-like
        Sliceable lazily: a numpy, zarr or dask array.
    axes : str
        A letter for each dimension: T, C, Z, Y, X, S (samples of a pixel) or
        "?" for one that the file does not explain.
    names : tuple of str or None
        What the file calls its channels; may not fit their number.
    rgb : bool
        Whether the samples are red, green, blue.
    strips : bool
        Whether the smallest piece that can be decoded spans the image's width.
    pixel_size_um : float or None
    notes : list of str
    """

    path: Path
    array: Any
    axes: str
    names: tuple[str | None, ...] = ()
    rgb: bool = False
    strips: bool = False
    pixel_size_um: float | None = None
    notes: list[str] = field(default_factory=list)


class Plane:
    """One channel of a field, read where it is sliced.

    Parameters
    ----------
    source : Source
    at : dict of int to int
        Index for each dimension of the array that is fixed. The remaining
        ones are Y, X and perhaps Z, over which the maximum is taken.
    """

    def __init__(self, source: Source, at: Mapping[int, int]):
        self._source = source
        self._at = dict(at)
        self._y, self._x = source.axes.index("Y"), source.axes.index("X")
        free = [i for i in range(len(source.axes)) if i not in {self._y, self._x, *at}]
        self._z = free[0] if free else None
        self._band: tuple[slice, np.ndarray] | None = None
        self.shape: tuple[int, int] = (source.array.shape[self._y], source.array.shape[self._x])
        self.dtype = np.dtype(source.array.dtype).newbyteorder("=")

    def __getitem__(self, region: tuple[slice, slice]) -> np.ndarray:
        """Read a region, ``(y, x)`` slices with step 1, as a 2-D array."""
        rows, cols = (slice(*s.indices(n)[:2]) for s, n in zip(region, self.shape, strict=True))
        if not self._source.strips or cols == slice(0, self.shape[1]):
            return self._read(rows, cols)
        # the tiles of one row come one after the other: decode their strips once
        if self._band is None or self._band[0] != rows:
            self._band = (rows, self._read(rows, slice(0, self.shape[1])))
        return self._band[1][:, cols].copy()

    def _read(self, rows: slice, cols: slice) -> np.ndarray:
        if self._z is None:
            return self._block(rows, cols, {})
        block = self._block(rows, cols, {self._z: 0})
        for z in range(1, self._source.array.shape[self._z]):
            np.maximum(block, self._block(rows, cols, {self._z: z}), out=block)
        return block

    def _block(self, rows: slice, cols: slice, also: Mapping[int, int]) -> np.ndarray:
        at = {**self._at, **also, self._y: rows, self._x: cols}
        with decoding(self._source.path):
            block = np.asarray(self._source.array[tuple(at[i] for i in range(len(at)))])
        if self._x < self._y:
            block = block.T
        return np.array(block, dtype=self.dtype)


@contextmanager
def decoding(path: Path) -> Iterator[None]:
    """Turn whatever a decoder raises into the reason why a field is rejected.

    A fault of the machine (an OSError with a number, no memory) is passed on.
    """
    try:
        yield
    except (BadFieldError, MemoryError):
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        reason = shorten(str(error), 200, placeholder=" …") or type(error).__name__
        raise BadFieldError(
            f"{path.name} cannot be decoded, it is damaged or cut short: {reason}"
        ) from error


def plausible_pixel_size(x_um: float, y_um: float, notes: list[str]) -> float | None:
    """Return a stated pixel size when it can be believed; otherwise note why not.

    Parameters
    ----------
    x_um, y_um : float
        Width and height of a pixel in µm.
    notes : list of str
        Appended to when there is something wrong.
    """
    low, high = PLAUSIBLE_UM
    if not (low <= x_um <= high and low <= y_um <= high):
        notes.append(f"the file's pixel size of {x_um:.4g}×{y_um:.4g} µm is implausible: not used")
        return None
    if abs(x_um - y_um) > 0.01 * x_um:
        notes.append(f"the file's pixels of {x_um:.4g}×{y_um:.4g} µm are not square: size not used")
        return None
    return float(x_um)


def find_channel(names: tuple[str, ...], channel: str | int, path: Path) -> str | None:
    """Return the name of the channel that is meant, or None when it is not there.

    Parameters
    ----------
    names : tuple of str
        The channels of the file, in order.
    channel : str or int
        A name, or where no name equals it an index counted from 0.
    path : Path
        For the message.
    """
    if str(channel) in names:
        return str(channel)
    if str(channel).isdecimal() and int(channel) < len(names):
        return names[int(channel)]
    return None


def split_channels(
    source: Source, projection: str, channels: Mapping[str, str | int] | None
) -> dict[str, Plane]:
    """Return a plane for each channel of a source.

    Parameters
    ----------
    source : Source
        Its notes are appended to.
    projection : {"refuse", "max"}
    channels : mapping of str to str or int, or None
        What is asked for; decides whether an axis without a name can be
        taken for the channels. None asks for whatever there is.

    Returns
    -------
    dict of str to Plane
        By name, in the file's order; a channel without a name is called by
        its index.

    Raises
    ------
    BadFieldError
        When an axis, the pixel type or the size cannot be used.
    """
    at = _check_axes(source, projection, channels)
    free = [i for i in range(len(source.axes)) if i not in at and source.axes[i] in "CS"]
    if not free:
        return {_names(source, 1)[0]: Plane(source, at)}
    axis = free[0]
    planes = [Plane(source, {**at, axis: i}) for i in range(source.array.shape[axis])]
    if source.rgb and source.axes[axis] == "S":
        if len(planes) > 3:
            source.notes.append("alpha channel not used")
        return _colours(source, planes[:3])
    return dict(zip(_names(source, len(planes)), planes, strict=True))


def only_plane(source: Source, projection: str) -> Plane:
    """Return the one plane of a file that holds one channel.

    A picture in false colour counts as one channel when one colour holds the
    signal: the other colours vary by at most 5 % as much, or follow it with a
    correlation of at least 0.98. The one that varies most is taken.

    Raises
    ------
    BadFieldError
        When the file holds several channels.
    """
    planes = split_channels(source, projection, {})
    if len(planes) == 1:
        return next(iter(planes.values()))
    if tuple(planes) != tuple("RGB") or not source.rgb:
        raise BadFieldError(
            f"{source.path.name} holds {len(planes)} channels ({', '.join(planes)}) where one "
            "file a channel is expected"
        )
    covariance = _covariance(list(planes.values()))
    spread = np.sqrt(np.diag(covariance))
    best = int(spread.argmax())
    faint = spread <= TINT_LEAK * spread[best]
    follows = covariance[best] >= TINT_CORRELATION * spread * spread[best]
    if not np.all(faint | follows):
        raise BadFieldError(
            f"{source.path.name} is a colour picture whose colours hold different things; "
            "one file a channel needs one grey or tinted picture a channel"
        )
    source.notes.append(f"one colour holds the signal: {'RGB'[best]} is used")
    return list(planes.values())[best]


def _check_axes(
    source: Source, projection: str, channels: Mapping[str, str | int] | None
) -> dict[int, int]:
    """Fix the axes of length 1; refuse what is not clear; return what is fixed."""
    name, shape = source.path.name, source.array.shape
    dtype = np.dtype(source.array.dtype)
    if dtype.kind != "f" and dtype.newbyteorder("=") not in (np.uint8, np.uint16):
        raise BadFieldError(f"{name} has {dtype} pixels; uint8, uint16 and floats can be read")
    if 0 in shape or not {"Y", "X"} <= set(source.axes):
        raise BadFieldError(f"{name} holds no image: its axes {source.axes} have lengths {shape}")
    if max(shape) > LONGEST:
        raise BadFieldError(f"{name} is damaged: it claims to be {max(shape)} pixels long")
    _settle_unstated(source, channels)
    at = {i: 0 for i, a in enumerate(source.axes) if a not in "YX" and shape[i] == 1}
    longer = [a for i, a in enumerate(source.axes) if i not in at and a not in "YX"]
    for axis in longer:
        length = shape[source.axes.index(axis)]
        if axis == "Z" and projection == "refuse":
            raise BadFieldError(
                f"{name} is a z-stack of {length} planes (axis Z); set projection: max in the "
                "configuration to use the maximum over z"
            )
        if axis not in "ZCS":
            what = "time points (axis T)" if axis == "T" else f"planes along an axis {axis!r}"
            raise BadFieldError(f"{name} holds {length} {what}; a field is one image")
    if len(set(longer)) < len(longer) or {"C", "S"} <= set(longer):
        raise BadFieldError(f"{name} has unclear axes {source.axes} of lengths {shape}")
    if "Z" in longer:
        source.notes.append(f"maximum over {shape[source.axes.index('Z')]} z planes")
    return at


def _settle_unstated(source: Source, channels: Mapping[str, str | int] | None) -> None:
    """Take an axis that the file does not explain for the channels, if the user says so.

    The user says so by an index for every channel, the highest of which is the
    axis' last: a z-stack does not fit that by accident.
    """
    long = [i for i, a in enumerate(source.axes) if a == UNSTATED and source.array.shape[i] > 1]
    if not long:
        return
    length = source.array.shape[long[0]]
    asked = [str(channel) for channel in (channels or {}).values()]
    fits = bool(asked) and all(map(str.isdecimal, asked)) and max(map(int, asked)) + 1 == length
    if len(long) > 1 or not (fits or channels is None):
        lengths = "×".join(str(source.array.shape[i]) for i in long)
        raise BadFieldError(
            f"{source.path.name} has {lengths} planes and does not say whether they are channels, "
            "z or time; save it as OME-TIFF or ImageJ TIFF with named axes (channels may also be "
            "given by index, all of them, when the highest index is the last plane's)"
        )
    axes = list(source.axes)
    axes[long[0]] = "C"
    source.axes = "".join(axes)
    source.notes.append(f"its {length} planes have no stated meaning: taken for the channels")


def _names(source: Source, count: int) -> tuple[str, ...]:
    """Return a name for each channel: its index where it has none or shares it."""
    indices = tuple(str(i) for i in range(count))
    if len(source.names) != count:
        if any(source.names):
            source.notes.append(f"{len(source.names)} names for {count} channels: not used")
        return indices
    named = [name or index for name, index in zip(source.names, indices, strict=True)]
    twice = sorted({name for name in named if named.count(name) > 1})
    if twice:
        source.notes.append(f"several channels are named {', '.join(twice)}: they go by index")
    names = [i if name in twice else name for name, i in zip(named, indices, strict=True)]
    return tuple(names) if len(set(names)) == count else indices


def _colours(source: Source, planes: list[Plane]) -> dict[str, Plane]:
    """Return one plane when red, green and blue are equal everywhere, otherwise three."""
    red, green, blue = planes
    for tile in tiles(red.shape, TILE):
        first = red[tile.core]
        if not all(np.array_equal(first, other[tile.core]) for other in (green, blue)):
            source.notes.append("colour picture: its channels are R, G and B")
            return dict(zip("RGB", planes, strict=True))
    return {"0": red}


def _covariance(planes: list[Plane]) -> np.ndarray:
    """Covariance matrix of the pixels of several planes, read tile by tile, float64."""
    count, total, products = 0, np.zeros(len(planes)), np.zeros((len(planes), len(planes)))
    for tile in tiles(planes[0].shape, TILE):
        pixels = np.stack([plane[tile.core].ravel() for plane in planes]).astype(np.float64)
        count += pixels.shape[1]
        total += pixels.sum(axis=1)
        products += pixels @ pixels.T
    return products / count - np.outer(total, total) / count**2
