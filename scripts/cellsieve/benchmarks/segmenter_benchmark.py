"""Time and memory of segmenting one field by segment.py, Cellpose 3 and Mask R-CNN ResNet-50."""

import json
import logging
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from math import nan
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from cellsieve.errors import UserError

if TYPE_CHECKING:
    import numpy as np

    from cellsieve.segmenters.maskrcnn import MaskRcnnSegmenter

# processes are measured from here: nothing large is imported before a clock runs

log = logging.getLogger(__name__)

# in the order of the table; what is left out of a competitor's time is in its favour
CASES = {
    "segment": "segment.py, the whole command",
    "cellpose_network": "CellposeModel.eval without masks; float32, random weights",
    "cellpose": "the same, and its dynamics on ideal flows of the nuclei that segment.py found",
    "maskrcnn": "Mask R-CNN ResNet-50, some tiles; float32 as torchvision runs it, random weights,"
    " as proposals the boxes of the nuclei that segment.py found; without stitching",
    "maskrcnn_bfloat16": "the same as this project runs it, in bfloat16",
}


class Job(NamedTuple):
    """What is to be measured.

    Attributes
    ----------
    dapi, qc : Path
        Of the field.
    weights : Path
        For ``segment.py``.
    threads : int
        Of PyTorch.
    tiles : int
        That Mask R-CNN answers at most.
    folder : Path
        Where ``segment.py`` leaves its nuclei for the others.
    """

    dapi: Path
    qc: Path
    weights: Path
    threads: int
    tiles: int
    folder: Path

    @property
    def nuclei(self) -> Path:
        """The label image of ``segment.py``."""
        return self.folder / "nuclei.tif"


class Run(NamedTuple):
    """What a process measured.

    Attributes
    ----------
    case : str
        A name in `CASES`.
    seconds : float
        Of segmenting.
    peak_mb : float
        Largest resident memory so far.
    nuclei : int or None
        That were found; of Mask R-CNN those that it was given.
    start_s : float
        Of imports, weights and the field, not in ``seconds``; NaN for the
        whole command.
    network_s : float
        Of the network, in ``seconds``; NaN where it is not known.
    share : float
        Of the field that was segmented.
    """

    case: str
    seconds: float
    peak_mb: float
    nuclei: int | None = None
    start_s: float = nan
    network_s: float = nan
    share: float = 1.0


def compare(
    dapi: Path, qc: Path, weights: Path, threads: int = 2, tiles: int = 2, repeats: int = 1
) -> list[dict[str, Any]]:
    """Measure all competitors on one field, one after the other.

    Parameters
    ----------
    dapi, qc : Path
        Of ``preprocess.py``.
    weights : Path
        For ``segment.py``.
    threads : int
        Of PyTorch.
    tiles : int
        That Mask R-CNN answers at most.
    repeats : int
        Runs of each.

    Returns
    -------
    list of dict
        See `summarise`.

    Raises
    ------
    UserError
        If the field has no nuclei, or ``segment.py`` fails.
    """
    if not json.loads(qc.read_text(encoding="utf-8"))["diameter_px"]:
        raise UserError(f"{qc}: a field without nuclei; nothing to time, take another one")
    runs = []
    with tempfile.TemporaryDirectory() as folder:
        job = Job(dapi, qc, weights, threads, tiles, Path(folder))
        for measure in (_segment, _cellpose, _maskrcnn, partial(_maskrcnn, bfloat16=True)):
            for _ in range(repeats):
                runs += _apart(measure, job)
                done = runs[-1]
                log.info("%s: %.1f s for %.3g of the field", done.case, done.seconds, done.share)
    return summarise(runs)


def summarise(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """Turn what was measured into figures of the whole field.

    Parameters
    ----------
    runs : sequence of Run
        At least one a case.

    Returns
    -------
    list of dict
        For each case its fastest run: ``name``, ``what``, ``seconds`` and
        ``network_seconds`` for the field, ``measured_seconds`` and the share of
        the field that they were ``seconds_measured_on`` (1 is all of it),
        ``start_seconds`` (in none of these), ``nuclei``, ``peak_rss_mb`` and
        ``ratio_to_segment``, of the seconds.
    """
    fastest = {
        case: min((run for run in runs if run.case == case), key=lambda run: run.seconds)
        for case in CASES
    }
    return [
        {
            "name": case,
            "what": CASES[case],
            "seconds": run.seconds / run.share,
            "network_seconds": run.network_s / run.share,
            "measured_seconds": run.seconds,
            "seconds_measured_on": run.share,
            "start_seconds": run.start_s,
            "nuclei": run.nuclei,
            "peak_rss_mb": run.peak_mb,
            "ratio_to_segment": run.seconds / run.share / fastest["segment"].seconds,
        }
        for case, run in fastest.items()
    ]


def _apart(measure: Callable[[Job], list[Run]], job: Job) -> list[Run]:
    """Measure in a process of its own, so that its peak memory is its own."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(measure, job).result()


def _peak_mb(whose: int = resource.RUSAGE_SELF) -> float:
    return resource.getrusage(whose).ru_maxrss / 1024


class _Timed:
    """A function that adds up the seconds it takes."""

    def __init__(self, function: Callable[..., Any]):
        self.function, self.seconds = function, 0.0

    def __call__(self, *args: Any) -> Any:
        begun = time.perf_counter()
        answer = self.function(*args)
        self.seconds += time.perf_counter() - begun
        return answer


def _segment(job: Job) -> list[Run]:
    command = [sys.executable, Path(__file__).parents[2] / "segment.py", "--device", "cpu"]
    command += ["--dapi", job.dapi, "--qc", job.qc, "--weights", job.weights]
    command += ["--threads", str(job.threads)]
    command += ["--nuclei", job.nuclei, "--overlay", job.folder / "overlay.png"]
    begun = time.perf_counter()
    done = subprocess.run(command, check=False)
    seconds = time.perf_counter() - begun
    if done.returncode:
        raise UserError(f"segment.py ended with {done.returncode}; its message is above")
    peak = _peak_mb(resource.RUSAGE_CHILDREN)
    nuclei = int(_labels(job).max())
    if not nuclei:
        raise UserError(f"{job.dapi}: segment.py finds no nuclei; nothing to time")
    return [Run("segment", seconds, peak, nuclei)]


def _labels(job: Job) -> "np.ndarray":
    import numpy as np

    from cellsieve.stores import open_labels

    with open_labels(job.nuclei) as nuclei:
        return nuclei[:].astype(np.int32)


def _cellpose(job: Job) -> list[Run]:
    begun = time.perf_counter()
    import numpy as np
    import torch
    from cellpose import dynamics, models, resnet_torch

    from cellsieve.stores import open_zip

    torch.set_num_threads(job.threads)
    torch.manual_seed(0)
    weights = job.folder / "random"
    resnet_torch.CPnet([2, 32, 64, 128, 256], nout=3, sz=3).save_model(weights)
    model = models.CellposeModel(gpu=False, pretrained_model=str(weights))
    network = model.net.forward = _Timed(model.net.forward)
    diameter = json.loads(job.qc.read_text(encoding="utf-8"))["diameter_px"]
    with open_zip(job.dapi) as store:
        image = store["dapi"][:].astype(np.float32)
    start = time.perf_counter() - begun

    begun = time.perf_counter()
    model.eval(image, diameter=diameter, channels=[0, 0], compute_masks=False)
    seconds = time.perf_counter() - begun
    alone = Run("cellpose_network", seconds, _peak_mb(), None, start, network.seconds)
    # the dynamics draw such flows once more of what they find: no peak comes from here
    flows, chance = _ideal(_labels(job))
    begun = time.perf_counter()
    # at the field's resolution, with as many steps and the same thresholds as `eval`
    steps = 200 * diameter / model.diam_mean
    found = dynamics.resize_and_compute_masks(flows, chance, niter=steps)
    seconds += time.perf_counter() - begun
    nuclei = int(found.max())
    return [alone, Run("cellpose", seconds, _peak_mb(), nuclei, start, network.seconds)]


def _ideal(labels: "np.ndarray") -> tuple["np.ndarray", "np.ndarray"]:
    """Return what Cellpose's network should show of labels: flows and the logit of nucleus."""
    import numpy as np
    from cellpose import dynamics

    flows = dynamics.masks_to_flows(labels).astype(np.float32)
    flows *= 5  # its scale
    return flows, np.where(labels > 0, np.float32(5), np.float32(-5))


def _maskrcnn(job: Job, bfloat16: bool = False) -> list[Run]:
    begun = time.perf_counter()
    import torch
    from scipy import ndimage

    from cellsieve.network_segmentation import View, tile_and_halo
    from cellsieve.rescaled import Rescaled
    from cellsieve.stores import open_zip
    from cellsieve.tiles import tiles

    torch.set_num_threads(job.threads)
    segmenter, proposals = random_maskrcnn(bfloat16)
    network = segmenter.detect = _Timed(segmenter.detect)
    qc = json.loads(job.qc.read_text(encoding="utf-8"))
    scale = segmenter.diameter / qc["diameter_px"]
    sizes = tile_and_halo(segmenter, scale)
    start = time.perf_counter() - begun

    labels, seconds = _labels(job), 0.0
    regions = [piece.padded for piece in tiles(labels.shape, *sizes)]
    nuclei = [[box for box in ndimage.find_objects(labels[r]) if box] for r in regions]
    chosen = typical([len(boxes) for boxes in nuclei], job.tiles)
    with open_zip(job.dapi) as store:
        view = View(Rescaled(store["dapi"], scale), qc["nuclear_intensity"], segmenter.step)
        for n in chosen:
            begun = time.perf_counter()
            picture, places = view.picture(regions[n])
            proposals.boxes = torch.from_numpy(as_boxes(nuclei[n], *places, scale))
            segmenter.segment(picture, *places)
            seconds += time.perf_counter() - begun
    given = sum(len(nuclei[n]) for n in chosen)
    share = share_of(regions, chosen)
    case = "maskrcnn_bfloat16" if bfloat16 else "maskrcnn"
    return [Run(case, seconds, _peak_mb(), given, start, network.seconds, share)]


class KnownBoxes:
    """Proposes boxes that are known, where a network of random weights proposes thousands.

    Attributes
    ----------
    boxes : Tensor, (n, 4), float32
        x and y of the first and the last corner, px.
    """

    def __call__(self, *_: Any) -> tuple[list[Any], list[Any]]:
        """Take the place of the choice among what `torchvision`'s RPN predicts."""
        return [self.boxes], [None]


def random_maskrcnn(bfloat16: bool = False) -> "tuple[MaskRcnnSegmenter, KnownBoxes]":
    """Return Mask R-CNN ResNet-50 of random weights, and what it takes for its proposals.

    Parameters
    ----------
    bfloat16 : bool
        Whether it computes as it does in this project, or in float32 as in torchvision.

    Notes
    -----
    It does no more than a trained one: each proposal is a nucleus and stays
    where it is. A trained network proposes several boxes a nucleus.
    """
    import numpy as np
    import torch
    from torch import nn

    from cellsieve.segmenters.maskrcnn import MaskRcnnSegmenter
    from cellsieve.segmenters.maskrcnn_network import MaskRcnn

    torch.manual_seed(0)
    backbone = "resnet50"
    state = MaskRcnn(backbone).state_dict()
    segmenter = MaskRcnnSegmenter(state, {"backbone": backbone}, "random", "cpu")
    segmenter.bfloat16 = bfloat16
    proposals = segmenter.network.rpn.filter_proposals = KnownBoxes()
    heads = segmenter.network.roi_heads
    heads.score_thresh, heads.nms_thresh = -1.0, 1.0
    for values in heads.box_predictor.bbox_pred.parameters():
        nn.init.zeros_(values)
    # what only the first picture costs must not be multiplied
    proposals.boxes = torch.tensor([[0.0, 0.0, 32.0, 32.0]])
    segmenter.detect(np.zeros((64, 64), np.float32))
    return segmenter, proposals


def typical(counts: Sequence[int], most: int) -> list[int]:
    """Return the numbers of those tiles, ascending, whose counts are nearest to the median."""
    import numpy as np

    differences = np.abs(np.array(counts) - np.median(counts))
    return sorted(np.argsort(differences, kind="stable")[:most].tolist())


def share_of(regions: Sequence[tuple[slice, slice]], chosen: Sequence[int]) -> float:
    """Return how much of the pixels that all tiles read, with halos, is of some tiles.

    The number of tiles would say the same if those at the border were not smaller.
    """
    pixels = [(y.stop - y.start) * (x.stop - x.start) for y, x in regions]
    return sum(pixels[n] for n in chosen) / sum(pixels)


def as_boxes(
    found: Sequence[tuple[slice, slice]], rows: "np.ndarray", cols: "np.ndarray", scale: float
) -> "np.ndarray":
    """Return where nuclei lie in a picture.

    Parameters
    ----------
    found : sequence of tuple of slice, n
        Rows and columns of each nucleus in a region of the field.
    rows, cols : ndarray, (h,) and (w,), float64
        Where in the picture the region's pixels have their middles.
    scale : float
        Pixels of the picture to a pixel of the field.

    Returns
    -------
    ndarray, (n, 4), float32
        x and y of the first and the last corner, px.
    """
    import numpy as np

    corners = [(cols[x.start], rows[y.start], cols[x.stop - 1], rows[y.stop - 1]) for y, x in found]
    to_edge = np.array([-1, -1, 1, 1]) * scale / 2
    return (np.reshape(corners, (-1, 4)) + to_edge).astype(np.float32)
