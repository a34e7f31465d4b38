# Reads and checks configuration and sheet, and holds what the rules share; no rules.
import json
import os
import re
import sys
from pathlib import Path

sys.path.insert(0, f"{workflow.basedir}/scripts")

from cellsieve import choices, locks, provenance, vanished, weights
from cellsieve.benchmarks import choices as benchmark_choices
from cellsieve.errors import UserError
from cellsieve.planning import config as config_module
from cellsieve.planning import plan

try:
    RUN = plan.Plan(config, workflow.config_settings.overwrite_config.get("channels"))
    CATALOGUE = weights.read_catalogue()
    # relative, so that a finished run may be moved
    PROMPTABLE_WEIGHTS = os.path.relpath(
        weights.locate(config["sam"]["model"], config["weights"])
    )
    # the model that outlines candidates in place of SAM
    CELLPOSE = RUN.cellpose_model()
    START, NETWORK = RUN.first_weights()
    START = [os.path.relpath(path) for path in START]
    FIRST_BACKBONE = RUN.first_backbone()
    DESCRIBING_NETWORK = RUN.network()
except UserError as error:
    sys.exit(f"error: {error}")
except OSError as error:
    sys.exit(f"error: {error.filename}: {error.strerror}")

if workflow.is_main_process:
    for warning in RUN.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    # kept in a variable: the lock lasts as long as the file is open
    RUN_LOCK = locks.release_stale_lock(Path(".snakemake"))

vanished.let_jobs_fail_alone()

# where downloaded weights lie, and by file name which can be downloaded
WEIGHTS = Path(config["weights"]).expanduser()
DOWNLOADS = {entry.file_name: entry for entry in CATALOGUE.values() if entry.url}

# a GPU serves one job at a time also without a profile; a profile's own limit wins
if config["gpus"] and "gpu" not in workflow.global_resources:
    workflow.register_resource("gpu", config["gpus"])


wildcard_constraints:
    field="[A-Za-z0-9][A-Za-z0-9._-]*",
    slide="[A-Za-z0-9][A-Za-z0-9._-]*",
    scope="models|slides/[A-Za-z0-9][A-Za-z0-9._-]*",
    manifest="run|models|training|benchmark|slides/[A-Za-z0-9][A-Za-z0-9._-]*",


def out(path):
    """Return the path of an output."""
    return f"{config['results']}/{path}"


def script(name):
    """Return the path of a script, the same wherever the checkout lies."""
    return os.path.relpath(f"{workflow.basedir}/scripts/{name}.py")


def code(name):
    """Digest a script's code, so that an edit reruns its stage, and a comment nothing."""
    return provenance.code(name)


def options(*keys):
    """Return a section of the configuration, or a part of it, as command-line words."""
    section = config[keys[0]]
    return config_module.as_flags({k: section[k] for k in keys[1:] or section})


def gpu_tag():
    """Return the GPU resource of a rule; nothing where there is no GPU."""
    return {"gpu": 1} if config["gpus"] else {}


def mem_mb(wildcards, attempt):
    """Ask for more memory when a job is tried again."""
    return 5000 * attempt


def sheet(column, flag=None):
    """Return a function that gives a field's cell of the sheet, after a flag if it is not empty."""

    def lookup(wildcards):
        value = RUN.fields[wildcards.field][column]
        if flag is None:
            return "" if value is None else value
        return [] if value is None else [flag, str(value)]

    return lookup


def each(name, fields=None):
    """Return the path of one kind of file for all fields, or for those named."""
    return [
        RUN.path(field, name) for field in (RUN.fields if fields is None else fields)
    ]


def exports():
    """Return what every field is exported to."""
    return [out(f"fields/{field}/{name}") for field in RUN.fields for name in EXPORTED]


def mask_table(field):
    """Return the masks that a field's pseudo-labels are chosen from; none from coarse outlines."""
    source = config["pseudo_labels"]["from"]
    return [] if source == "coarse" else RUN.path(field, f"{source}_masks")


def segmenter_weights():
    """Return the weights that fields are segmented with, frozen, the run's own or shipped."""
    if config["segmenter"]["method"] == "coarse":
        return []
    if config["segmenter"]["weights"]:
        return os.path.normpath(config["segmenter"]["weights"])
    if RUN.training_fields:
        return out("models/segmenter/weights.safetensors")
    return START


def manifest_rows(name):
    """Return the rows of a manifest; stop where no row of the sheet belongs there."""
    rows = RUN.manifest(name)
    if not rows:
        sys.exit(
            f"error: {config['fields']}: no field is for {name}; see docs/input.md"
        )
    return rows


def truth_files():
    """Return the truth of all fields that have one; stop where there is none."""
    if not RUN.truth_fields:
        sys.exit(
            f"error: {config['fields']}: no field has a truth to measure methods with"
        )
    return [RUN.fields[field]["truth"] for field in RUN.truth_fields]


def class_files():
    """Return the tables of the classes of true nuclei, of the fields that have one."""
    truth = [RUN.fields[field]["truth"] for field in RUN.truth_fields]
    tables = [path.replace(".labels.tif", ".cells.tsv") for path in truth]
    return [path for path in tables if path.endswith(".tsv") and Path(path).is_file()]


def timed_threads():
    """Return all cores of this machine: nothing is to run beside what is timed."""
    return max(workflow.resource_settings.cores or 0, config["threads"])


def folds():
    """Return in how many folds the fields with a truth are dealt; 0 where there are too few."""
    return min(FOLDS, len(RUN.truth_fields)) if RUN.truth_fields[1:] else 0


def benchmarked():
    """Return the methods that can be compared on the fields with a truth."""
    return [m for m in benchmark_choices.METHODS if m != "maskrcnn_human" or folds()]


def starting_weights(engine):
    """Return the weights that a training for the benchmark begins with, if there are any."""
    return [os.path.relpath(path) for path in RUN.starting_point(engine)[0]]


def network_options(engine):
    """Return which network of an engine the benchmark trains."""
    network = RUN.starting_point(engine)[1]
    return f"--network {network}" if network else ""


def method_weights(method):
    """Return the weights that a method of the benchmark segments with."""
    models = out(f"benchmark/models/{method}")
    if method == "watershed":
        return []
    if method in ("sam_auto", "sam_prompted"):
        return [PROMPTABLE_WEIGHTS]
    if method == "cellpose_downloaded":
        return [os.path.relpath(path) for path in RUN.downloaded_cellpose()]
    if method == "votes_shipped":
        return starting_weights("votes")
    if method == "maskrcnn_human":
        return [f"{models}/{fold}/weights.safetensors" for fold in range(folds())]
    return [f"{models}/weights.safetensors"]


def compared_start(method, backbone):
    """Return the weights that ship for an anomaly method that is compared, if there are any."""
    if method == choices.OUTLIER_EXPOSURE:
        return RUN.outlier_network()
    return RUN.shipped_backbone(backbone)


def anomaly_runs(suffix):
    """Return the files of all runs of the benchmark of anomaly methods."""
    return [
        out(f"benchmark/anomaly/{method}-{backbone}-{seed}.{suffix}")
        for method, backbone in benchmark_choices.ANOMALY_METHODS
        if method != "frozen" or RUN.ships_backbone(backbone)
        for seed in range(1 if method in UNSEEDED else SEEDS)
    ]


def painting_seed():
    """Return the seed of the painting of what was refused; nothing else is drawn there."""
    painted = config["pseudo_labels"]["refused"] == "paint"
    return f"--seed {config['seed']}" if painted else ""


def slide_reference(slide):
    """Return the record of the model that a slide's nuclei are scored against."""
    return f"{RUN.reference_folder(RUN.slides[slide][0])}/record.json"


def model_records():
    """Return the records of all models that the run uses for the anomaly score."""
    own = [out("models/anomaly/record.json")] if RUN.fits_network else []
    return own + sorted(
        {f"{RUN.reference_folder(field)}/record.json" for field in RUN.fields}
    )


def thumbnails():
    """Return the pictures of the reference nuclei of all models."""
    return sorted(
        {f"{RUN.reference_folder(field)}/thumbnails.zarr.zip" for field in RUN.fields}
    )


def describing_threads():
    """Return the threads of a job that describes nuclei; more than one for a network."""
    return config["threads"] if RUN.networked else 1


def describing_flags():
    """Return where a network describes nuclei, if one does."""
    flags = ["--device", config["device"], "--threads", config["threads"]]
    return flags if RUN.networked else []


def describing_method():
    """Return what a reference is learned by: all networks that are fitted are one method."""
    return "network" if RUN.fits_network else config["anomaly"]["method"]


def fitted_method():
    """Return how the anomaly network is fitted; without a reference it stays as it begins."""
    return config["anomaly"]["method"] if RUN.reference_fields else "frozen"


def fitted_to(name):
    """Return a kind of file of the fields that the anomaly network is fitted to."""
    return each(name, RUN.reference_fields) if fitted_method() != "frozen" else []


def reference_lists(scope):
    """Return the lists of normal nuclei that a reference is learned from."""
    fields = RUN.scope_fields(scope) if scope == "models" else []
    return [
        path for field in fields for path in RUN.present_file(field, "reference_nuclei")
    ]


def recorded_config():
    """Return the configuration as text, less what says only where and on what it runs."""
    kept = {
        key: value
        for key, value in config.items()
        if key not in ("results", "weights", "gpus")
    }
    return json.dumps(kept, sort_keys=True)


FINETUNE = f"finetune_{config['segmenter']['method'].replace('coarse', 'votes')}"
SEEDS = 3  # of each anomaly network that is compared
# nothing of them is drawn but the split of the reference
UNSEEDED = (*choices.UNFITTED, "frozen")
FOLDS = 3  # of the fields with a truth, where human labels are learned from
# false CACs among simulated normal nuclei, for runs without a large reference
FALSE_CAC = os.path.relpath(f"{workflow.basedir}/resources/false_cac.json")
EXPORTED = ("cells.csv", "cells.geojson", "field.ome.zarr")
