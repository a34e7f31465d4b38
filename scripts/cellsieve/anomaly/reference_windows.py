"""The windows of the reference, and what a network makes of the surroundings of its nuclei."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from cellsieve.anomaly.reference_nuclei import Scale, read_label_list
from cellsieve.anomaly_networks.files import Network
from cellsieve.anomaly_networks.localisation import Localiser, describe_windows, tell
from cellsieve.anomaly_networks.windows import lay_windows
from cellsieve.objects import bounding_boxes
from cellsieve.stores import open_labels, open_zip

NO_WINDOWS = pd.DataFrame({"field": [], "y0": [], "x0": []}).astype({"field": str})


def describe_reference(
    rows: Sequence[dict[str, Any]], scale: Scale, network: Network
) -> pd.DataFrame:
    """Describe the windows of fields whose nuclei are in the bank.

    Where not all nuclei of a field are known to be normal, a window that shows another
    one is left out.

    Parameters
    ----------
    rows : sequence of dict
        As `cellsieve.anomaly.reference_model.build` takes them.
    scale : Scale
    network : Network

    Returns
    -------
    DataFrame
        As `cellsieve.anomaly_networks.localisation.describe_windows` gives them.
    """
    tables = []
    for row in rows:
        with open_zip(row["dapi"]) as store, open_labels(row["nuclei"]) as nuclei:
            windows = lay_windows(store["dapi"], nuclei, row["quality"], scale)
            if row.get("reference_nuclei"):
                windows = windows.showing_only(read_label_list(row["reference_nuclei"]))
            if windows.starts:
                tables.append(describe_windows(network, windows, row["field"]))
    return pd.concat(tables, ignore_index=True) if tables else NO_WINDOWS


def localise_nuclei(
    rows: Sequence[dict[str, Any]], scale: Scale, localiser: Localiser, nuclei: pd.DataFrame
) -> pd.DataFrame:
    """Return described nuclei with what windows say of their surroundings.

    Parameters
    ----------
    rows : sequence of dict
    scale : Scale
    localiser : Localiser
    nuclei : DataFrame
        Columns ``field, cell``.
    """
    tables = []
    for row in rows:
        table = nuclei[nuclei["field"] == row["field"]]
        if table.empty:
            continue
        with open_zip(row["dapi"]) as store, open_labels(row["nuclei"]) as labels:
            windows = lay_windows(store["dapi"], labels, row["quality"], scale)
            seen = localiser.look(windows, row["field"])
            found = tell(seen, windows, bounding_boxes(labels))
        tables.append(table.join(found, on="cell"))
    return pd.concat([nuclei.iloc[:0], *tables]).loc[nuclei.index]
