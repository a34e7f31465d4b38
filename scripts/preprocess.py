"""Remove the background of a field's DAPI channel and judge the field's quality."""

import json
import logging
from collections.abc import Sequence
from typing import Any

from cellsieve.cli import add_channel_options, parser, run
from cellsieve.errors import BadFieldError, UserError

log = logging.getLogger("preprocess")

QC_KEYS = (
    "status",
    "reasons",
    "shape",
    "dtype",
    "channels",
    "missing_channels",
    "pixel_size_um",
    "diameter_px",
    "focus",
    "saturated_fraction",
    "background",
    "foreground_fraction",
    "nuclear_intensity",
    "image_sha256",
)


def main(argv: Sequence[str] | None = None) -> None:
    """Read one field; write its background-free DAPI channel and its quality."""
    options = parser(__doc__)
    options.add_argument("--image", required=True, help="image, or pattern with {channel}")
    add_channel_options(options)
    options.add_argument("--pixel-size", type=float, help="µm per pixel; wins over the file's own")
    options.add_argument("--on-bad-field", default="record", choices=["record", "fail"])
    options.add_argument("--dapi", required=True, help="output, .zarr.zip")
    options.add_argument("--qc", required=True, help="output, .json")
    args = options.parse_args(argv)

    from cellsieve.files import write_json
    from cellsieve.images import image_files, image_sha256, parse_channels
    from cellsieve.stores import add_plane, create_zip

    channels = parse_channels(args.channel)
    files = image_files(args.image, channels)
    qc: dict[str, Any] = dict.fromkeys(QC_KEYS)
    qc |= {"channels": [], "missing_channels": [], "pixel_size_um": args.pixel_size}
    try:
        with create_zip(args.dapi) as store:
            qc |= _examine(args, channels, store)
    except BadFieldError as error:
        if args.on_bad_field == "fail":
            raise UserError(f"{args.image}: {error} (on_bad_field is fail)") from error
        log.warning("rejected: %s", error)
        qc |= {"status": "rejected", "reasons": [str(error)], "shape": None}
        with create_zip(args.dapi) as store:
            add_plane(store, "dapi", (1, 1), "uint16")
            add_plane(store, "foreground", (1, 1), "uint8")
    present = [file for file in files if file.exists()]
    qc["image_sha256"] = image_sha256(present) if present else None
    write_json(args.qc, qc)
    log.info("%s %s", qc["status"], json.dumps(qc["reasons"], ensure_ascii=False))


def _examine(args: Any, channels: dict[str, str], store: Any) -> dict[str, Any]:
    from cellsieve.images import open_field
    from cellsieve.preprocessing import preprocess

    with open_field(args.image, channels, args.projection) as field:
        qc = preprocess(field.plane("dapi"), store)
        unusable = _unusable_probes(field)
        usable = [role for role in field.channels if role not in unusable]
        qc |= {
            "shape": list(field.shape),
            "dtype": str(field.dtype),
            "channels": usable,
            "missing_channels": [role for role in channels if role not in usable],
        }
        faults = [f"no channel for {role}" for role in field.missing]
        faults += [f"{role} cannot be used: {fault}" for role, fault in unusable.items()]
        faults += _pixel_size_faults(args.pixel_size, field.pixel_size_um)
        qc["pixel_size_um"] = args.pixel_size or field.pixel_size_um
    if faults and qc["status"] == "ok":
        qc["status"] = "flagged"
    qc["reasons"] = [*qc["reasons"], *faults, *field.notes]
    return qc


def _unusable_probes(field: Any) -> dict[str, str]:
    """Probes whose pixels cannot be used, and why; a bad probe must cost only itself."""
    from cellsieve.preprocessing import check_probe

    unusable = {}
    for role in field.channels[1:]:
        try:
            check_probe(field.plane(role))
        except BadFieldError as error:
            unusable[role] = str(error)
    return unusable


def _pixel_size_faults(given: float | None, own: float | None) -> list[str]:
    if given and own and abs(given - own) > 0.02 * own:
        return [f"pixel size: {given:g} µm by the sheet (used), {own:g} µm by the file"]
    return []


if __name__ == "__main__":
    run(main)
