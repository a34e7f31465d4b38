"""Training of our small promptable model on simulated nuclei."""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.data import DataLoader, IterableDataset

from cellsieve.promptable.small_network import SmallSam, cut_windows
from cellsieve.promptable.small_sam import DIAMETER
from cellsieve.simulation.draws import generator
from cellsieve.simulation.varied import VariedScene
from cellsieve.training.examples import draw_example
from cellsieve.training.prompt_sampling import Question, sample_questions

SIDE = 192  # px of a picture
PICTURES = 8  # a step
PROMPTS = 10  # a picture, at most
_RATE = 1.5e-3
_DECAY = 0.02
_WARM_UP = 150  # steps
_AVERAGE = 0.998  # of the weights that are kept, a step
_OTHER_MASKS = 0.15  # weight of the masks that are not the best
_PIXELS = 4.0  # weight of the cross-entropy beside the Dice loss


class Batch(NamedTuple):
    """The pictures and prompts of one step.

    Attributes
    ----------
    pictures : Tensor, (B, 1, s, s), float32
    picture : Tensor, (N,), int64
        In which picture each prompt is; ascending.
    corners, points, kinds, labels, nucleus : Tensor
        As in `Question`, N of each.
    """

    pictures: Tensor
    picture: Tensor
    corners: Tensor
    points: Tensor
    kinds: Tensor
    labels: Tensor
    nucleus: Tensor


class Batches(IterableDataset):
    """The batches of some steps; each depends on the seed and its step alone."""

    def __init__(self, scenes: Sequence[VariedScene], seed: int, steps: range):
        self.scenes, self.seed, self.steps = scenes, seed, steps

    def __iter__(self) -> Iterator[Batch]:
        torch.set_num_threads(1)
        for step in self.steps:
            yield draw_batch(self.scenes, self.seed, step)


def draw_batch(scenes: Sequence[VariedScene], seed: int, step: int) -> Batch:
    """Draw pictures and always the same number of prompts.

    A convolution for a number of windows that is new to it must be compiled
    first, which takes longer than the step.
    """
    rng = generator("training step", seed, step)
    pictures, asked = [], []
    while len(pictures) < PICTURES:
        picture, labels = draw_example(rng, scenes, SIDE, DIAMETER)
        questions = sample_questions(rng, labels, PROMPTS)
        if questions:
            asked += [(len(pictures), question) for question in questions]
            pictures.append(torch.from_numpy(picture)[None])
    order = rng.permutation(len(asked))
    chosen = sorted(np.resize(order, PICTURES * PROMPTS))
    of, questions = zip(*(asked[i] for i in chosen), strict=True)
    parts = Question(*(torch.from_numpy(np.array(part)) for part in zip(*questions, strict=True)))
    return Batch(torch.stack(pictures), torch.tensor(of), *parts)


def loss(network: SmallSam, batch: Batch) -> tuple[Tensor, float]:
    """Answer a batch and compare with the truth.

    As in SAM, only the best of the masks counts (here the others a little), by
    cross-entropy and Dice loss, and the predicted IoU by its squared error. A
    wrong prompt has no mask that would be right: only the predicted IoU counts,
    which must be that with the nucleus that the mask happens to resemble.

    Returns
    -------
    loss : Tensor, ()
    iou : float
        Mean IoU of the best mask of the prompts that were right.
    """
    logits, predicted = _answers(network, batch)
    real = _real_iou(logits.detach() > 0, batch)
    right = batch.nucleus > 0
    target = (batch.labels == batch.nucleus[:, None, None])[right, None].float()
    each = _mask_loss(logits[right], target)
    masks = each.min(1).values + _OTHER_MASKS * each.mean(1)
    quality = functional.mse_loss(predicted, real)
    return masks.mean() + quality, real[right].max(1).values.mean().item()


def _answers(network: SmallSam, batch: Batch) -> tuple[Tensor, Tensor]:
    embedding = network.embed(batch.pictures)
    windows = [
        cut_windows(embedding[i], batch.corners[batch.picture == i])
        for i in batch.picture.unique().tolist()
    ]
    logits, predicted = network.answer(torch.cat(windows), batch.points, batch.kinds)
    return logits.float(), predicted.float()


def _mask_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy and Dice loss of each mask, (N, M)."""
    target = target.expand_as(logits)
    pixels = functional.binary_cross_entropy_with_logits(logits, target, reduction="none")
    share = logits.sigmoid()
    both = (share * target).sum((2, 3))
    dice = 1 - (2 * both + 1) / (share.sum((2, 3)) + target.sum((2, 3)) + 1)
    return _PIXELS * pixels.mean((2, 3)) + dice


def _real_iou(masks: Tensor, batch: Batch) -> Tensor:
    """IoU of each mask with its nucleus, or of a wrong prompt's with the best, (N, M)."""
    real = torch.zeros(masks.shape[:2])
    for n, (mask, labels, nucleus) in enumerate(
        zip(masks, batch.labels, batch.nucleus.tolist(), strict=True)
    ):
        for candidate in [nucleus] if nucleus else labels[mask.any(0)].unique().tolist():
            if candidate:
                truth = labels == candidate
                iou = (mask & truth).sum((1, 2)) / (mask | truth).sum((1, 2))
                real[n] = torch.maximum(real[n], iou)
    return real


class Trainer:
    """Weights, their running average, optimiser and the step that was reached.

    Parameters
    ----------
    scenes : sequence of VariedScene
    seed : int
        Of the first weights and of all that is drawn.
    steps : int
        In all; the learning rate falls to nearly 0 over them.
    """

    def __init__(self, scenes: Sequence[VariedScene], seed: int, steps: int):
        torch.manual_seed(seed)
        self.scenes, self.seed, self.steps, self.step = scenes, seed, steps, 0
        self.network = SmallSam().to(memory_format=torch.channels_last)
        self.average = {name: v.clone() for name, v in self.network.state_dict().items()}
        matrices = [p for p in self.network.parameters() if p.ndim > 1]
        others = [p for p in self.network.parameters() if p.ndim <= 1]
        self.optimiser = torch.optim.AdamW(
            [{"params": matrices, "weight_decay": _DECAY}, {"params": others, "weight_decay": 0.0}]
        )

    def run(self, until: int) -> Iterator[tuple[int, float, float]]:
        """Train to a step; yield each step with its loss and IoU."""
        batches = Batches(self.scenes, self.seed, range(self.step, until))
        self.network.train()
        # the forked process shares the scenes' memory
        for batch in DataLoader(batches, batch_size=None, num_workers=1, prefetch_factor=8):
            value, iou = self._advance(batch)
            yield self.step, value, iou

    def _advance(self, batch: Batch) -> tuple[float, float]:
        for group in self.optimiser.param_groups:
            group["lr"] = self._rate()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            value, iou = loss(self.network, batch)
        if not torch.isfinite(value):
            raise FloatingPointError(f"the loss is not finite at step {self.step}")
        value.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimiser.step()
        self.optimiser.zero_grad()
        self.step += 1
        self._remember()
        return value.item(), iou

    def _rate(self) -> float:
        cosine = 0.5 * (1 + math.cos(math.pi * self.step / self.steps)) + 0.01
        return _RATE * min(1.0, (self.step + 1) / _WARM_UP) * cosine

    @torch.no_grad()
    def _remember(self) -> None:
        """Let the average follow the weights, quickly at first."""
        kept = min(_AVERAGE, self.step / (self.step + 20))
        for name, value in self.network.state_dict().items():
            if value.is_floating_point():
                self.average[name].lerp_(value, 1 - kept)
            else:
                self.average[name].copy_(value)

    def state(self) -> dict:
        """Return what `resume` needs, all of it tensors and numbers."""
        return {
            "step": self.step,
            "network": self.network.state_dict(),
            "average": self.average,
            "optimiser": self.optimiser.state_dict(),
        }

    def resume(self, state: dict) -> None:
        """Go on from what `state` returned."""
        self.step = state["step"]
        self.network.load_state_dict(state["network"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.average = state["average"]


@torch.inference_mode()
def validate(network: SmallSam, batches: Sequence[Batch]) -> float:
    """Mean IoU of the masks that the network itself thinks best, for right prompts."""
    network.eval()
    found = []
    for batch in batches:
        logits, predicted = _answers(network, batch)
        best = predicted.argmax(1, keepdim=True)
        real = _real_iou(logits > 0, batch).gather(1, best)[:, 0]
        found.append(real[batch.nucleus > 0])
    return torch.cat(found).mean().item()
