"""Folders of images and of their label images under the same file names."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import zarr

from cellsieve.errors import BadFieldError, UserError
from cellsieve.images import open_field
from cellsieve.preprocessing import preprocess
from cellsieve.stores import open_labels

_IMAGES = {".tif", ".tiff", ".png", ".jpg", ".jpeg"}


class LabelledImage(NamedTuple):
    """An image and the label image of its nuclei.

    Attributes
    ----------
    image : Path
    labels : Path
        A TIFF with one plane of integers, 0 = background.
    """

    image: Path
    labels: Path


class Preprocessed(NamedTuple):
    """A labelled image as the stages after preprocessing see it.

    Attributes
    ----------
    dapi : array-like, (H, W)
        Counts above the background.
    labels : array-like, (H, W), integer
        The true nuclei.
    diameter : float or None
        Typical nucleus diameter in pixels, estimated from the image alone;
        None when nothing in it looks like a nucleus.
    intensity : float or None
        Typical intensity of its nuclei, counts.
    """

    dapi: Any
    labels: Any
    diameter: float | None
    intensity: float | None


def find_labelled(
    images: str | Path, labels: str | Path, names: str | Path | None = None
) -> list[LabelledImage]:
    """Pair the images of a folder with the label images of another.

    Parameters
    ----------
    images, labels : path-like
        Folders; the label image, a TIFF, has the name of its image but for the
        suffix.
    names : path-like, optional
        A text file, one image name without folder a line, to take only these;
        by default all images of the folder.

    Returns
    -------
    list of LabelledImage
        Sorted by name, or in the order of ``names``.

    Raises
    ------
    UserError
        When a folder, an image or a label image is not there, or there is
        nothing to take.
    """
    images, labels = Path(images), Path(labels)
    for folder in (images, labels):
        if not folder.is_dir():
            raise UserError(f"{folder}: no such folder")
    chosen = _listed(Path(names)) if names else _image_names(images)
    if not chosen:
        where = f"{names}: no image is named" if names else f"{images}: no image (TIFF, PNG, JPEG)"
        raise UserError(where)
    pairs = [LabelledImage(images / name, _label_image(labels / name)) for name in chosen]
    for kind, paths in zip(("image", "labels"), zip(*pairs, strict=True), strict=True):
        if missing := [path for path in paths if not path.is_file()]:
            more = f" and {len(missing) - 1} more" if missing[1:] else ""
            folder, name = missing[0].parent, missing[0].name
            raise UserError(f"{folder}: no {kind} {name}{more}; names must be the same")
    return pairs


def _label_image(path: Path) -> Path:
    return path if path.suffix.lower() in (".tif", ".tiff") else path.with_suffix(".tif")


@contextmanager
def open_preprocessed(
    pair: LabelledImage, channel: str, store: zarr.Group
) -> Iterator[Preprocessed]:
    """Preprocess an image as the workflow does and open its labels beside it.

    Parameters
    ----------
    pair : LabelledImage
    channel : str
        Name or index of the DAPI channel.
    store : zarr.Group
        Receives what `cellsieve.preprocessing.preprocess` writes.

    Yields
    ------
    Preprocessed

    Raises
    ------
    UserError
        When the image cannot be used, or the labels are not integers of its
        size.
    """
    try:
        with open_field(pair.image, {"dapi": channel}) as field:
            qc = preprocess(field.plane("dapi"), store)
    except BadFieldError as error:
        raise UserError(f"{pair.image}: {error}; leave it out with --list") from error
    with open_labels(pair.labels) as labels:
        shape = store["dapi"].shape
        if labels.shape != shape or labels.dtype.kind not in "iu":
            found = f"{labels.dtype} of {'×'.join(map(str, labels.shape))} px"
            wanted = "×".join(map(str, shape))
            raise UserError(f"{pair.labels}: labels must be integers of {wanted} px, not {found}")
        yield Preprocessed(store["dapi"], labels, qc["diameter_px"], qc["nuclear_intensity"])


def _listed(path: Path) -> list[str]:
    lines = path.read_text(encoding="utf-8").splitlines()
    return [line.strip() for line in lines if line.strip()]


def _image_names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.suffix.lower() in _IMAGES)
