"""Fit a network to normal nuclei; a validation that needs no abnormal one decides what is kept."""

import copy
import hashlib
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from cellsieve.anomaly_networks.contrastive import effective_rank
from cellsieve.anomaly_networks.cutpaste import paste_patch, paste_scar
from cellsieve.anomaly_networks.files import Network
from cellsieve.anomaly_networks.fpi import interpolate
from cellsieve.anomaly_networks.methods import METHODS, Method, in_parts
from cellsieve.anomaly_networks.networks import Backbone, Embedding
from cellsieve.provenance import code, versions
from cellsieve.training.course import Course, train_afresh
from cellsieve.training.trainer import Schedule, Trainer

log = logging.getLogger(__name__)

COLUMNS = ("step", "loss", "figure", "synthetic anomalies told")
_PICTURES = 32  # normal crops of a step
_RATE = 3e-4
_EVERY = 50  # steps between validations
_WARM_UP = 30  # steps
_JUDGING = 5  # one crop in so many,
_JUDGED, _KNOWN = 500, 1000  # but no more, beside so many that are learned from
# where a network no longer tells nuclei apart: its share of the first effective rank, and the mean
# distance of unit vectors from their middle
_FLAT, _POINT = 0.1, 0.01


class Options(NamedTuple):
    """How to fit.

    Attributes
    ----------
    method, backbone : str
    steps, seed : int
    device : str
    """

    method: str
    backbone: str
    steps: int
    seed: int
    device: str


def fit(
    crops: np.ndarray,
    start: Mapping[str, Tensor] | None,
    options: Options,
    checkpoint: Path,
    follow: Callable[[list[list[float]]], None],
) -> Course:
    """Fit a network to the crops of normal nuclei.

    Parameters
    ----------
    crops : ndarray, (n, 2, s, s), float16
        As `cellsieve.crops.cut_crops` gives them; at least 10.
    start : mapping of str to Tensor, or None
        First weights of the backbone.
    options : Options
    checkpoint : Path
        Goes on from it if it exists.
    follow : callable
        Takes the rows of the curve so far, with `COLUMNS`.

    Returns
    -------
    Course
        Its validation is the probability that a damaged nucleus scores above
        another normal one, of a fifth of the nuclei that is not learned from.

    Raises
    ------
    TrainingError
        If the training diverged or collapsed before it learned anything.
    """
    method = METHODS[options.method]
    normal = torch.from_numpy(crops.astype(np.float32))
    order = torch.randperm(len(normal), generator=_generator(options.seed, "split"))
    held = min(len(order) // _JUDGING, _JUDGED)
    judging, learning = normal[order].split([held, len(order) - held])
    torch.manual_seed(options.seed)
    network = method.build(Backbone(options.backbone))
    if start:
        network.backbone.load_state_dict(start)
    network.to(options.device).eval()
    if isinstance(network, Embedding):
        network.settle(in_parts(method.embed, network, learning))
    damaged = _damage(judging, _generator(options.seed, "damage"))
    judge = _Judge(method, network, learning[:_KNOWN], judging, damaged)

    def draw(step: int) -> Any:
        generator = _generator(options.seed, f"step {step}")
        chosen = torch.randint(len(learning), (_PICTURES,), generator=generator)
        return method.draw(learning[chosen], generator)

    schedule = Schedule(options.steps, _RATE, options.seed, _WARM_UP)
    trainer = Trainer(network, draw, method.loss, schedule, options.device)
    origin = {**options._asdict(), "learned_from": _digest(normal, start)}
    origin |= {"versions": str(versions()), "code": " ".join(code("fit_anomaly"))}
    return train_afresh(trainer, judge, _EVERY, checkpoint, origin, start is not None, follow)


def fitted_network(method: str, module: nn.Module, course: Course) -> Network:
    """Return the network that a fit came to.

    Parameters
    ----------
    method : str
    module : Module
        As the method builds it, on any device; takes the best weights of ``course``.
    course : Course

    Returns
    -------
    Network
        Without a score of its own where the first weights were kept: what makes that
        score then holds random numbers.
    """
    module.load_state_dict(course.best)
    known = METHODS[method]
    return Network(known if course.step else known._replace(pretext=None), module.eval())


class _Judge:
    """How well damaged nuclei are told from whole ones; stops a network that collapses.

    Parameters
    ----------
    method : Method
    network : Module
        With its first weights; a copy is judged with others, it goes on learning.
    known, fair, odd : Tensor, (n, 2, s, s)
        Nuclei that are learned from, normal ones that are not, and damaged ones.
    """

    def __init__(
        self, method: Method, network: nn.Module, known: Tensor, fair: Tensor, odd: Tensor
    ):
        self.method, self.network = method, copy.deepcopy(network)
        self.parts = known, fair, odd
        self.first_rank = effective_rank(in_parts(method.embed, self.network, fair))

    def __call__(self, state: Mapping[str, Tensor]) -> float:
        """Return the area under the ROC curve of weights."""
        self.network.load_state_dict(state)
        known, fair, odd = (in_parts(self.method.embed, self.network, p) for p in self.parts)
        spread = (fair - fair.mean(0)).norm(dim=1).mean()
        if spread < _POINT or effective_rank(fair) < _FLAT * self.first_rank:
            raise FloatingPointError("the network collapses: it no longer tells nuclei apart")
        return _auroc(_nearest(fair, known), _nearest(odd, known))


def _damage(crops: Tensor, generator: torch.Generator) -> Tensor:
    """Make a third each of the kinds of synthetic anomalies."""
    first, second, third = crops.tensor_split(3)
    foreign = interpolate(third, third.roll(1, 0), generator)[0]
    return torch.cat([paste_patch(first, generator), paste_scar(second, generator), foreign])


def _nearest(queries: Tensor, bank: Tensor) -> Tensor:
    """Sum of the squared distances to the two nearest of a bank of unit vectors."""
    return (2 - 2 * queries @ bank.T).topk(2, 1, largest=False).values.sum(1)


def _auroc(normal: Tensor, odd: Tensor) -> float:
    """Probability that an odd one scores above a normal one; ties count half."""
    above = (odd[:, None] > normal).float() + 0.5 * (odd[:, None] == normal).float()
    return float(above.mean())


def _generator(seed: int, what: str) -> torch.Generator:
    digest = hashlib.sha256(f"{seed} {what}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:7], "little"))


def _digest(crops: Tensor, start: Mapping[str, Tensor] | None) -> str:
    digest = hashlib.sha256(crops.numpy().tobytes())
    for name, value in (start or {}).items():
        digest.update(name.encode() + value.cpu().numpy().tobytes())
    return digest.hexdigest()
