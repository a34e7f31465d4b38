"""Score how far each nucleus of one field lies from the normal reference."""

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cellsieve.cli import parser, positive, run

log = logging.getLogger("score_anomaly")

MAP_SCALE = 16  # pixels of the field per pixel of the map


def main(argv: Sequence[str] | None = None) -> None:
    """Read one field and a reference model; write scores a nucleus and a map."""
    options = parser(__doc__)
    options.add_argument("--field", required=True, help="name of the field")
    options.add_argument("--dapi", required=True, help=".zarr.zip of preprocess.py")
    options.add_argument("--qc", required=True, help=".json of preprocess.py")
    options.add_argument("--nuclei", required=True, help="label image of segment.py")
    options.add_argument("--measurements", required=True, help=".parquet of measure.py")
    options.add_argument("--reference", required=True, help="folder that build_reference.py wrote")
    options.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda"])
    options.add_argument("--threads", type=positive, default=2, help="of PyTorch on a CPU")
    options.add_argument("--anomaly", required=True, help="output, .parquet")
    options.add_argument("--anomaly-map", required=True, help="output, .zarr.zip")
    args = options.parse_args(argv)

    from cellsieve.provenance import file_sha256
    from cellsieve.reference_model import load_model
    from cellsieve.stores import open_labels, open_zip
    from cellsieve.tables import ANOMALY, write_table

    qc = json.loads(Path(args.qc).read_text(encoding="utf-8"))
    model = load_model(args.reference)
    with open_zip(args.dapi) as store, open_labels(args.nuclei) as nuclei:
        shown = model.image_name(args.field, qc["image_sha256"])
        heat: dict[float, Any] = {}
        views = _views(model, args, shown, heat) if model.network else (None, None)
        name = model.name(args.field, qc["image_sha256"], file_sha256(args.nuclei))
        table, described = _score(store["dapi"], nuclei, model, name, qc, *views)
        _write_map(args.anomaly_map, nuclei, table, heat)
    shifts = _scale_notes(qc, model) + _stain_notes(described, args.measurements, model)
    if shifts:
        table["anomaly_p"] = float("nan")
    for shift in shifts:
        log.info("unlike the reference, no p: %s", shift)
    write_table(args.anomaly, table, ANOMALY, shifts)
    log.info("%d nuclei scored", int(table["anomaly_score"].notna().sum()))


def _views(model: Any, args: Any, shown: str, heat: dict[float, Any]) -> tuple[Any, Any]:
    """Return what describes crops, and what looks at surroundings and keeps its map."""
    import torch

    from cellsieve.anomaly_networks.files import load_network
    from cellsieve.devices import choose_device

    torch.set_num_threads(args.threads)
    network = load_network(model.network, choose_device(args.device))
    if model.windows is None or model.windows.empty:
        return network.describe, None
    from cellsieve.anomaly_networks.localisation import Localiser, tell
    from cellsieve.anomaly_networks.windows import CELL, lay_windows

    localiser = Localiser(network, model.windows)

    def localise(
        dapi: Any, nuclei: Any, boxes: Any, ruler: Any, field: str, intensity: float
    ) -> Any:
        windows = lay_windows(dapi, nuclei, ruler, intensity)
        seen = localiser.look(windows, shown)
        heat[CELL / windows.view.scale] = seen.heat
        return tell(seen, windows, boxes)

    return network.describe, localise


def _score(
    dapi: Any, nuclei: Any, model: Any, field: str, qc: dict[str, Any], *views: Any
) -> tuple:
    import numpy as np
    import pandas as pd

    from cellsieve.describing import describe_field
    from cellsieve.objects import bounding_boxes
    from cellsieve.reference import SMALLEST_BANK, Bank, conformal_p
    from cellsieve.tables import ANOMALY

    if len(model.bank) < SMALLEST_BANK:
        unscored = pd.DataFrame({"cell": bounding_boxes(nuclei).index})
        return unscored.reindex(columns=list(ANOMALY)), unscored
    described = describe_field(dapi, nuclei, field, qc, model.scale, *views)
    table = described[["cell"]].reindex(columns=list(ANOMALY))
    if table.empty:
        return table, described
    scores = Bank(model.bank, model.signs).score(described)
    table["anomaly_crop"], table["anomaly_map"] = scores.crop, scores.surroundings
    table["anomaly_score"] = scores.score
    table["anomaly_p"] = conformal_p(scores.score, np.asarray(model.calibration["score"]))
    table["nearest_reference_1"], table["nearest_reference_2"] = scores.nearest.T
    return table, described


def _write_map(path: str, nuclei: Any, table: Any, localised: dict[float, Any]) -> None:
    """Write the highest score of each block of the field, and the windows' map if there is one.

    A block without a nucleus is NaN.
    """
    import numpy as np

    from cellsieve.stores import add_plane, create_zip
    from cellsieve.tiles import tiles

    # looked up by place, not by number: a label may be any 32-bit number
    cells = np.append(0, table["cell"].to_numpy(np.int64))
    values = np.append(np.nan, table["anomaly_score"]).astype(np.float32)
    shape = tuple(-(-length // MAP_SCALE) for length in nuclei.shape)
    with create_zip(path) as store:
        heat = add_plane(store, "map", shape, np.float32)
        for tile in tiles(nuclei.shape, 64 * MAP_SCALE):
            block = values[np.searchsorted(cells, np.asarray(nuclei[tile.core]))]
            padding = [(0, -n % MAP_SCALE) for n in block.shape]
            block = np.pad(block, padding, constant_values=np.nan)
            rows, cols = (n // MAP_SCALE for n in block.shape)
            blocks = block.reshape(rows, MAP_SCALE, cols, MAP_SCALE)
            y, x = (s.start // MAP_SCALE for s in tile.core)
            # fmax passes over NaN: a block has no score only where no nucleus in it has one
            heat[y : y + rows, x : x + cols] = np.fmax.reduce(blocks, axis=(1, 3))
        store.attrs["scale"] = MAP_SCALE
        store.attrs["unit"] = "anomaly_score of the nucleus"
        for pixels, seen in localised.items():
            add_plane(store, "localised", seen.shape, np.float32)[:] = seen
            store.attrs["localised_scale"] = pixels


def _scale_notes(qc: dict[str, Any], model: Any) -> list[str]:
    from cellsieve.reference_nuclei import zoom_factor
    from cellsieve.reference_shift import scale_shift

    if not (qc["diameter_px"] and model.scale.diameter):
        return []
    ratio = qc["diameter_px"] * zoom_factor(qc["pixel_size_um"], model.scale.pixel_size_um)
    return scale_shift(ratio / model.scale.diameter)


def _stain_notes(described: Any, measurements: str, model: Any) -> list[str]:
    import pandas as pd

    from cellsieve.reference_shift import stain_shift
    from cellsieve.tables import read_table
    from cellsieve.wholeness import judge_wholeness

    if model.calibration.empty:
        return []
    measured = read_table(measurements)
    whole = measured["cell"][judge_wholeness(measured).whole]
    nuclei = described[described["cell"].isin(whole)]
    return stain_shift(nuclei, pd.concat([model.bank, model.calibration]))


if __name__ == "__main__":
    run(main)
