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

    from cellsieve.anomaly.reference_model import load_model
    from cellsieve.provenance import file_sha256
    from cellsieve.stores import open_labels, open_zip
    from cellsieve.tables import ANOMALY, write_table

    qc = json.loads(Path(args.qc).read_text(encoding="utf-8"))
    model = load_model(args.reference)
    with open_zip(args.dapi) as store, open_labels(args.nuclei) as nuclei:
        network = _network(model, args) if model.network else None
        name = model.name(args.field, qc["image_sha256"], file_sha256(args.nuclei))
        described = _describe(store["dapi"], nuclei, model, name, qc, network)
        windows = seen = None
        if network and model.windows is not None and len(model.windows):
            shown = model.image_name(args.field, qc["image_sha256"])
            windows, seen, told = _look(store["dapi"], nuclei, model, shown, qc, network)
            described = described.join(told, on="cell")
        table = _score(model, described)
        _write_map(args.anomaly_map, nuclei, table, windows, seen)
    shifts = _scale_notes(qc, model) + _stain_notes(described, args.measurements, model)
    if shifts:
        table["anomaly_p"] = float("nan")
    for shift in shifts:
        log.info("unlike the reference, no p: %s", shift)
    write_table(args.anomaly, table, ANOMALY, shifts)
    log.info("%d nuclei scored", int(table["anomaly_score"].notna().sum()))


def _network(model: Any, args: Any) -> Any:
    import torch

    from cellsieve.anomaly_networks.files import load_network
    from cellsieve.devices import choose_device

    torch.set_num_threads(args.threads)
    return load_network(model.network, choose_device(args.device))


def _describe(
    dapi: Any, nuclei: Any, model: Any, field: str, qc: dict[str, Any], network: Any
) -> Any:
    """Describe the nuclei; of a model that cannot score any, only their labels."""
    import pandas as pd

    from cellsieve.anomaly.describing import describe_field
    from cellsieve.anomaly.reference import SMALLEST_BANK
    from cellsieve.objects import bounding_boxes

    if len(model.bank) < SMALLEST_BANK:
        return pd.DataFrame({"cell": bounding_boxes(nuclei).index})
    return describe_field(dapi, nuclei, field, qc, model.scale, network)


def _look(
    dapi: Any, nuclei: Any, model: Any, field: str, qc: dict[str, Any], network: Any
) -> tuple[Any, Any, Any]:
    """Return the windows of a field, what is seen in them, and what that says of each nucleus."""
    from cellsieve.anomaly_networks.localisation import Localiser, tell
    from cellsieve.anomaly_networks.windows import lay_windows
    from cellsieve.objects import bounding_boxes

    windows = lay_windows(dapi, nuclei, qc, model.scale)
    seen = Localiser(network, model.windows).look(windows, field)
    return windows, seen, tell(seen, windows, bounding_boxes(nuclei))


def _score(model: Any, described: Any) -> Any:
    import numpy as np

    from cellsieve.anomaly.reference import SMALLEST_BANK, Bank, conformal_p
    from cellsieve.tables import ANOMALY

    table = described[["cell"]].reindex(columns=list(ANOMALY))
    if table.empty or len(model.bank) < SMALLEST_BANK:
        return table
    scores = Bank(model.bank, model.signs).score(described)
    table["anomaly_crop"], table["anomaly_map"] = scores.crop, scores.surroundings
    table["anomaly_score"] = scores.score
    table["anomaly_p"] = conformal_p(scores.score, np.asarray(model.calibration["score"]))
    table["nearest_reference_1"], table["nearest_reference_2"] = scores.nearest.T
    return table


def _write_map(path: str, nuclei: Any, table: Any, windows: Any, seen: Any) -> None:
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
        if seen:
            add_plane(store, "localised", seen.heat.shape, np.float32)[:] = seen.heat
            store.attrs["localised_scale"] = windows.cell_px


def _scale_notes(qc: dict[str, Any], model: Any) -> list[str]:
    from cellsieve.anomaly.reference_shift import scale_shift

    if not (qc["diameter_px"] and model.scale.diameter):
        return []
    return scale_shift(qc["diameter_px"] * model.scale.ruler(qc).zoom / model.scale.diameter)


def _stain_notes(described: Any, measurements: str, model: Any) -> list[str]:
    import pandas as pd

    from cellsieve.anomaly.reference_shift import stain_shift
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
