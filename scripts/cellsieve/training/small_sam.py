"""Training of our small promptable model on simulated nuclei."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from cellsieve.promptable.small_network import SmallSam, cut_windows
from cellsieve.promptable.small_sam import DIAMETER
from cellsieve.simulation.draws import generator
from cellsieve.simulation.varied import VariedScene
from cellsieve.training.examples import draw_example
from cellsieve.training.prompt_sampling import Question, sample_questions
from cellsieve.training.trainer import Schedule, Trainer

SIDE = 192  # px of a picture
PICTURES = 8  # a step
PROMPTS = 10  # a picture, at most
_RATE = 1.5e-3
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


def draw_batch(scenes: Sequence[VariedScene], seed: int, step: int) -> Batch:
    """Draw pictures and always the same number of prompts.

    A convolution for a number of windows that is new to it must be compiled
    first, which takes longer than the step.
    """
    rng = generator("training step", seed, step)
    pictures, asked = [], []
    while len(pictures) < PICTURES:
        picture, labels, _ = draw_example(rng, scenes, SIDE, DIAMETER)
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


def make_trainer(scenes: Sequence[VariedScene], seed: int, steps: int) -> Trainer:
    """Return the trainer of a new network.

    Parameters
    ----------
    scenes : sequence of VariedScene
    seed : int
        Of the first weights and of all that is drawn.
    steps : int
        In all.
    """
    torch.manual_seed(seed)

    def draw(step: int) -> Batch:
        return draw_batch(scenes, seed, step)

    return Trainer(SmallSam(), draw, loss, Schedule(steps, _RATE, seed))


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
