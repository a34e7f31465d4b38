"""What the workflow must know of a run to plan it: its fields and where things lie."""

import csv
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cellsieve.anomaly.reference_files import MODEL, NETWORK, WINDOWS
from cellsieve.choices import HAND_MADE, OUTLIER_EXPOSURE, UNFITTED
from cellsieve.errors import UserError
from cellsieve.files import atomic
from cellsieve.images import image_files
from cellsieve.planning.config import check_config
from cellsieve.planning.plan_checks import check_plan, undecidable
from cellsieve.planning.sheet import read_sheet
from cellsieve.weights import verified

PATH_COLUMNS = ("image", "nuclei", "reference_nuclei", "truth")
SIMULATED = Path("results/simulated")
RESOURCES = Path(__file__).parents[3] / "resources"
SHIPPED, SHIPPED_BACKBONES = RESOURCES / "segmenters", RESOURCES / "backbones"
# of an engine with several networks: the one for a CPU, the one for a GPU
NETWORKS = {"maskrcnn": ("light", "resnet50"), "cellpose": ("narrow", "standard")}
# files that Cellpose's models are downloaded as, and what we call their network
CELLPOSE_MODELS = {"cyto3": "cyto3", "nucleitorch_0": "nuclei"}
_FIELD_FILES = {
    "qc": "qc.json",
    "dapi": "dapi.zarr.zip",
    "sam_masks": "sam_masks.parquet",
    "cellpose_masks": "cellpose_masks.parquet",
    "pseudo_labels": "pseudo_labels.zarr.zip",
    "pseudo_labels_picture": "pseudo_labels.png",
    "nuclei": "nuclei.tif",
    "overlay": "overlay.png",
    "measurements": "measurements.parquet",
    "signals": "signals.parquet",
    "signals_picture": "signals.png",
    "anomaly": "anomaly.parquet",
    "anomaly_map": "anomaly_map.zarr.zip",
    "cells": "cells.csv",
}
_SLIDE_FILES = {
    "slide_calls": "calls.parquet",
    "slide_summary": "slide.json",
    "slide_picture": "signals.png",
}


class Plan:
    """The fields of a run, checked, in the order of the sheet.

    Parameters
    ----------
    config : dict
        The configuration; numbers given as text are changed to numbers.
    channels : mapping of str to str or int, optional
        The user's own ``channels``, which replace the default ones and are not
        merged with them.

    Attributes
    ----------
    fields : dict of str to dict
        Field to its row of the sheet.
    slides : dict of str to list of str
        Slide to its fields.
    warnings : list of str

    Raises
    ------
    UserError
        On the first mistake in the configuration or the sheet.
    OSError
        When the sheet cannot be read.
    """

    def __init__(self, config: dict[str, Any], channels: Any = None):
        if channels is not None:
            config["channels"] = channels
        check_config(config)
        check_plan(config)
        self.config = config
        sheet = read_sheet(config["fields"])
        self.warnings = [*sheet.warnings, *undecidable(config)]
        self.fields = {row["field"]: _normalised(row) for row in sheet.rows}
        self.slides: dict[str, list[str]] = {}
        for name, row in self.fields.items():
            self.slides.setdefault(row["slide"], []).append(name)

    @property
    def probes(self) -> list[str]:
        """Names of the probes, in the order of ``channels``."""
        return [role for role in self.config["channels"] if role != "dapi"]

    @property
    def training_fields(self) -> list[str]:
        """Fields whose pseudo-labels the segmenter learns from; none if it learns nothing."""
        segmenter = self.config["segmenter"]
        if segmenter["weights"] or segmenter["method"] == "coarse":
            return []
        return [n for n, row in self.fields.items() if row["train"] and not row["nuclei"]]

    @property
    def truth_fields(self) -> list[str]:
        """Fields whose nuclei are known, for benchmarks."""
        return [name for name, row in self.fields.items() if row["truth"]]

    def first_weights(self) -> tuple[list[Path], str]:
        """Return the weights that a segmenter begins with, if any, and its network.

        Weights that ship segment also without any training.

        Raises
        ------
        UserError
            If there is neither something to segment with nor to learn from.
        """
        segmenter = self.config["segmenter"]
        method, network = segmenter["method"], segmenter["network"]
        if network and network not in NETWORKS.get(method, ()):
            raise UserError(
                f"configuration: segmenter.network is {network!r}, but segmenter.method {method!r};"
                f" allowed: {' or '.join(NETWORKS.get(method, ())) or 'null'}"
            )
        weights, network = self.starting_point(method, network)
        # a downloaded Cellpose model is something to begin with only
        segments = [path for path in weights if path.suffix == ".safetensors"]
        learns = segmenter["weights"] or self.training_fields
        if method != "coarse" and not segments and not learns:
            raise UserError(
                f"configuration: segmenter.method is {method!r}, which ships without weights;"
                " allowed: segmenter.weights, rows with train: yes in the sheet, or votes"
            )
        return weights, network

    def starting_point(self, engine: str, network: str | None = None) -> tuple[list[Path], str]:
        """Return the weights that a training of an engine begins with, if any, and its network.

        Parameters
        ----------
        engine : str
        network : str, optional
            One of `NETWORKS`; by default as fits the GPU, and of Cellpose a
            downloaded model where there is one.
        """
        if engine == "cellpose" and not network and (downloaded := self.downloaded_cellpose()):
            return downloaded, CELLPOSE_MODELS[downloaded[0].name]
        shipped = SHIPPED / f"{engine}.safetensors"
        sizes = NETWORKS.get(engine, ("", ""))
        chosen = network or sizes[bool(self.config["gpus"])]
        return [verified(engine, SHIPPED)] if shipped.is_file() else [], chosen

    def downloaded_cellpose(self) -> list[Path]:
        """Return the Cellpose model in the folder of downloaded weights, if there is one."""
        folder = Path(self.config["weights"]).expanduser()
        return [folder / name for name in CELLPOSE_MODELS if (folder / name).is_file()][:1]

    def cellpose_model(self) -> list[str]:
        """Return the Cellpose model whose outlines become pseudo-labels, if one does.

        Raises
        ------
        UserError
            If it is to be used and is not there.
        """
        given = self.config["pseudo_labels"]["cellpose"]
        if self.config["pseudo_labels"]["from"] != "cellpose":
            return []
        if given and Path(given).expanduser().is_file():
            return [os.path.normpath(Path(given).expanduser())]
        folder = Path(self.config["weights"]).expanduser()
        if not given and (downloaded := self.downloaded_cellpose()):
            return [str(path) for path in downloaded]
        raise UserError(
            f"configuration: pseudo_labels.from is 'cellpose', but there is no file"
            f" {given or folder / 'nucleitorch_0'}; download https://www.cellpose.org/models/"
            "nucleitorch_0 (or .../cyto3) to there, or give its path as pseudo_labels.cellpose"
        )

    @property
    def reference_fields(self) -> list[str]:
        """Fields from which the reference is learned."""
        return [n for n, row in self.fields.items() if row["reference"] or row["reference_nuclei"]]

    def first_backbone(self) -> list[str]:
        """Return the weights that the anomaly network begins with, if it has any.

        Raises
        ------
        UserError
            If they are not there, or there are none where nothing is fitted.
        """
        anomaly = self.config["anomaly"]
        if anomaly["method"] in UNFITTED or anomaly["weights"]:
            return []
        if anomaly["start"]:
            if not Path(anomaly["start"]).is_file():
                raise UserError(
                    f"configuration: anomaly.start is {anomaly['start']!r}, which is no file;"
                    " allowed: first weights of the backbone, or null"
                )
            return [os.path.normpath(anomaly["start"])]
        if shipped := self.shipped_backbone(anomaly["backbone"]):
            return shipped
        if anomaly["method"] == "frozen" or not self.reference_fields:
            raise UserError(
                f"configuration: anomaly.backbone is {anomaly['backbone']!r}, for which no weights"
                " ship, and nothing is fitted; allowed: the path of its weights as anomaly.start"
            )
        return []

    def ships_backbone(self, name: str) -> bool:
        """Whether weights of a backbone ship."""
        return (SHIPPED_BACKBONES / f"{name}.safetensors").is_file()

    def shipped_backbone(self, name: str) -> list[str]:
        """Return the weights of a backbone that ship, if there are any, once they are verified."""
        if not self.ships_backbone(name):
            return []
        return [os.path.relpath(verified(name, SHIPPED_BACKBONES))]

    @property
    def fits_network(self) -> bool:
        """Whether an anomaly network is fitted, or at least begun with, in the run."""
        anomaly = self.config["anomaly"]
        return anomaly["method"] not in UNFITTED and not anomaly["weights"]

    def network(self) -> list[str]:
        """Return the network that describes the nuclei of the reference, if one does."""
        anomaly = self.config["anomaly"]
        if self.fits_network:
            return [f"{self.config['results']}/models/anomaly/weights.safetensors"]
        if anomaly["method"] == OUTLIER_EXPOSURE and not anomaly["weights"]:
            return self.outlier_network()
        return []

    def outlier_network(self) -> list[str]:
        """Return the network that ships for ``outlier_exposure``, once it is verified."""
        return [os.path.relpath(verified(OUTLIER_EXPOSURE, RESOURCES))]

    def model_files(self) -> list[str]:
        """Return the names of the files of the reference models that fields are scored against."""
        return [*MODEL, *[NETWORK] * self.networked, *[WINDOWS] * self.localised]

    @property
    def networked(self) -> bool:
        """Whether a network describes the nuclei, the run's own or one of a frozen model."""
        anomaly = self.config["anomaly"]
        given = anomaly["weights"]
        return Path(given, NETWORK).is_file() if given else anomaly["method"] not in HAND_MADE

    @property
    def localised(self) -> bool:
        """Whether a network looks at what lies beside the nuclei."""
        given = self.config["anomaly"]["weights"]
        if given:
            return Path(given, WINDOWS).is_file()
        return self.config["anomaly"]["surroundings"] == "localised"

    def channel_flags(self) -> list[str]:
        """Return the channels as command-line words, DAPI first."""
        channels = self.config["channels"]
        roles = ["dapi", *self.probes]
        return [word for role in roles for word in ("--channel", f"{role}={channels[role]}")]

    def present_images(self, field: str) -> list[str]:
        """Return the field's image files that exist or that the demo draws.

        Any other one that is missing fails its own job, not the plan of all.
        """
        files = image_files(self.fields[field]["image"], self.config["channels"])
        return [str(path) for path in files if path.exists() or path.parent == SIMULATED]

    def present_file(self, field: str, column: str) -> list[str]:
        """Return the file in a cell of the sheet; nothing if it is empty or the file missing."""
        path = self.fields[field][column]
        return [path] if path and Path(path).exists() else []

    def reference_folder(self, field: str) -> str:
        """Return the folder of the model that a field is scored against.

        That is the frozen one, else the run's, else its slide's own.
        """
        if self.config["anomaly"]["weights"]:
            return self.config["anomaly"]["weights"]
        scope = "models" if self.reference_fields else f"slides/{self.fields[field]['slide']}"
        return f"{self.config['results']}/{scope}/reference"

    def scope_fields(self, scope: str) -> list[str]:
        """Return the fields that the reference model of ``models`` or ``slides/NAME`` uses."""
        return self.reference_fields if scope == "models" else self.slides[Path(scope).name]

    def path(self, field: str, name: str) -> str:
        """Return the path of one of a field's files, or of its slide's."""
        row = self.fields[field]
        if name in _SLIDE_FILES:
            return f"{self.config['results']}/slides/{row['slide']}/{_SLIDE_FILES[name]}"
        return f"{self.config['results']}/fields/{field}/{_FIELD_FILES[name]}"

    def manifest(self, name: str) -> list[dict[str, Any]]:
        """Return the rows of a manifest.

        Parameters
        ----------
        name : str
            ``run``, ``training``, ``benchmark``, ``models`` or ``slides/NAME``: all
            fields, those that the segmenter learns from, those with a truth, the
            reference's, a slide's.
        """
        if name == "benchmark":
            files = ("dapi", "qc", "pseudo_labels")
            truth = {n: self.fields[n]["truth"] for n in self.truth_fields}
            return [{"field": n, "truth": t, **self._paths(n, files)} for n, t in truth.items()]
        if name == "training":
            files = ("dapi", "qc", "pseudo_labels")
            return [{"field": n, **self._paths(n, files)} for n in self.training_fields]
        if name == "run":
            files = [*_FIELD_FILES, *_SLIDE_FILES]
            # the sheet's nuclei would be hidden by the path of the result of that name
            return [
                {**row, "given_nuclei": row["nuclei"], **self._paths(field, files)}
                for field, row in self.fields.items()
            ]
        files = ["qc", "dapi", "nuclei", "measurements", "signals", "anomaly"]
        kept = ("field", "slide", "patient", "reference_nuclei")
        return [
            {**{key: self.fields[field][key] for key in kept}, **self._paths(field, files)}
            for field in self.scope_fields(name)
        ]

    def _paths(self, field: str, names: Sequence[str]) -> dict[str, str]:
        return {name: self.path(field, name) for name in names}


def write_manifest(path: Path | str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows of a manifest as TSV; None becomes an empty cell, yes and no stay words."""
    with atomic(path) as part, part.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter="\t", lineterminator="\n")
        writer.writerow(rows[0])
        for row in rows:
            writer.writerow(_cell(value) for value in row.values())


def _cell(value: Any) -> Any:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "" if value is None else value


def _normalised(row: dict[str, Any]) -> dict[str, Any]:
    """Make paths plain: two spellings of one path must be one file to Snakemake."""
    return row | {key: os.path.normpath(row[key]) for key in PATH_COLUMNS if row[key]}
