"""Time and memory of outlining a field with promptable models, each in a process of its own."""

import resource
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

from cellsieve.errors import UserError

CASES = {
    "small": "our small model, prompts in batches",
    "sam_vit_b": "sam_vit_b of random weights, prompts in batches",
    "sam_predictor": "the same weights, SamPredictor, a call a prompt",
}


class Job(NamedTuple):
    """What one process is to measure.

    Attributes
    ----------
    case : str
        A name in `CASES`.
    dapi, qc, prompts : Path
        Of the field.
    threads : int
        Of PyTorch.
    most_tiles : int or None
        Only so many tiles are answered, those with a typical number of
        prompts; None answers all.
    """

    case: str
    dapi: Path
    qc: Path
    prompts: Path
    threads: int
    most_tiles: int | None


def measure(job: Job) -> dict[str, Any]:
    """Run a job in a fresh process.

    Returns
    -------
    dict
        ``case``, ``what``, ``tiles``, ``prompts`` (answered), ``wall_s`` (start
        of Python and imports included), ``cpu_s``, ``peak_mb``,
        ``embed_s_per_tile``, ``answer_s_per_prompt`` (all that is not
        embedding), ``tiles_of_field``, ``prompts_of_field`` and
        ``field_wall_s``, the wall time for the whole field: from the figures a
        tile and a prompt when only some tiles were answered.
    """
    started = time.perf_counter()
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        figures = pool.submit(_outline, job).result()
    return {"case": job.case, "what": CASES[job.case], **whole_field(figures, started)}


def whole_field(figures: dict[str, Any], started: float) -> dict[str, Any]:
    """Turn what a process measured into the figures of the field.

    Parameters
    ----------
    figures : dict
        With ``ended``, ``run_s`` and ``embed_s``, and those that are passed on.
    started : float
        By the clock of ``ended``, seconds.
    """
    wall, run, embed = figures.pop("ended") - started, figures.pop("run_s"), figures.pop("embed_s")
    a_tile = embed / figures["tiles"]
    a_prompt = (run - embed) / figures["prompts"]
    further_tiles = figures["tiles_of_field"] - figures["tiles"]
    further_prompts = figures["prompts_of_field"] - figures["prompts"]
    return figures | {
        "wall_s": wall,
        "embed_s_per_tile": a_tile,
        "answer_s_per_prompt": a_prompt,
        "field_wall_s": wall + further_tiles * a_tile + further_prompts * a_prompt,
    }


def _outline(job: Job) -> dict[str, Any]:
    import json

    import torch

    from cellsieve.pseudo_labelling.prompted import answer_field
    from cellsieve.stores import open_zip
    from cellsieve.tables import read_table

    torch.set_num_threads(job.threads)
    model = _Timed(_model(job))
    qc = json.loads(job.qc.read_text(encoding="utf-8"))
    table = read_table(job.prompts)
    if not table["kept"].any():
        raise UserError(f"{job.prompts}: no candidate to time; take a field with nuclei")
    scale = model.diameter / qc["diameter_px"]
    tile_of = _tiles_of(table, scale, model.side - 2 * model.halo)
    kept = table["kept"]
    counts = tile_of[kept].value_counts()
    if job.most_tiles:
        typical = (counts - counts.median()).abs().sort_values(kind="stable")
        table["kept"] = kept & tile_of.isin(typical.index[: job.most_tiles])
    begun = time.perf_counter()
    with open_zip(job.dapi) as store:
        answer_field(store["dapi"], table, model, qc["diameter_px"], qc["nuclear_intensity"])
    ended = time.perf_counter()
    used = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "tiles": model.pictures,
        "prompts": int(table["kept"].sum()),
        "tiles_of_field": len(counts),
        "prompts_of_field": int(kept.sum()),
        "cpu_s": used.ru_utime + used.ru_stime,
        "peak_mb": used.ru_maxrss / 1024,
        "embed_s": model.seconds,
        "run_s": ended - begun,
        "ended": ended,
    }


def _tiles_of(table: Any, scale: float, size: int) -> Any:
    """A name for the tile that each candidate is answered in."""
    rows, cols = (((table[name] + 0.5) * scale // size) for name in ("y_px", "x_px"))
    return rows.astype(int).astype(str) + "/" + cols.astype(int).astype(str)


def _model(job: Job) -> Any:
    from cellsieve.promptable import load_model
    from cellsieve.weights import FOLDER

    if job.case == "small":
        return load_model("small", FOLDER, "cpu")
    import torch
    from segment_anything import sam_model_registry

    from cellsieve.promptable.meta_sam import MetaSam
    from cellsieve.promptable.sam_predictor import OneCallAPrompt

    torch.manual_seed(0)
    sam = sam_model_registry["vit_b"]()
    if job.case == "sam_predictor":
        return OneCallAPrompt(sam)
    return MetaSam(sam.state_dict(), "random", "cpu")


class _Timed:
    """A promptable model that counts its pictures and the seconds that they take."""

    def __init__(self, model: Any):
        self.model, self.pictures, self.seconds = model, 0, 0.0
        self.diameter, self.side, self.halo = model.diameter, model.side, model.halo
        self.prompts, self.answer = model.prompts, model.answer

    def embed(self, picture: Any) -> Any:
        begun = time.perf_counter()
        embedding = self.model.embed(picture)
        self.seconds += time.perf_counter() - begun
        self.pictures += 1
        return embedding
