"""CZI, ND2 and LIF through bioio, where it is installed."""

from importlib.util import find_spec
from pathlib import Path

from cellsieve.errors import BadFieldError, UserError
from cellsieve.images.layers import Source, decoding, plausible_pixel_size


def open_vendor(path: Path) -> Source:
    """Open a microscope maker's file; see `cellsieve.images.open_field`.

    Raises
    ------
    UserError
        When the packages that read this format are not installed.
    """
    kind = path.suffix.lower().lstrip(".")
    if kind not in {"czi", "nd2", "lif"}:
        raise BadFieldError(f"{path.name} is a CZI, ND2 or LIF file under another name; rename it")
    if not (find_spec("bioio") and find_spec(f"bioio_{kind}")):
        raise UserError(
            f"{path.name}: {kind.upper()} files need two more packages: "
            f"pip install bioio bioio-{kind} (or save the image as OME-TIFF)"
        )
    from bioio import BioImage

    with decoding(path):
        image = BioImage(path)
        if len(image.scenes) > 1:
            raise BadFieldError(
                f"{path.name} holds {len(image.scenes)} images ({', '.join(image.scenes[:5])}…); "
                "a field is one image: save each as a file"
            )
        notes: list[str] = []
        size = image.physical_pixel_sizes
        return Source(
            path=path,
            array=image.dask_data,
            axes=image.dims.order,
            names=tuple(str(name) for name in image.channel_names),
            rgb="S" in image.dims.order,
            pixel_size_um=plausible_pixel_size(size.X, size.Y, notes) if size.X else None,
            notes=notes,
        )
