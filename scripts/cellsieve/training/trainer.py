"""Training of a network: steps that depend on the seed alone, and can be gone on with."""

import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset

_DECAY = 0.02
_AVERAGE = 0.998  # of the weights that are kept, a step


class Schedule(NamedTuple):
    """How long and how fast to train.

    Attributes
    ----------
    steps : int
        In all; the learning rate falls over them along a cosine.
    rate : float
        The highest learning rate.
    seed : int
        Of what the network and its loss draw in training.
    warm_up : int
        Steps over which it rises.
    fall : float
        Share of the cosine's half-wave that is gone: 1 ends near 0, 0.75 at 0.16
        of the highest rate.
    """

    steps: int
    rate: float
    seed: int
    warm_up: int = 150
    fall: float = 1.0


class _Batches(IterableDataset):
    def __init__(self, draw: Callable[[int], Any], steps: range):
        self.draw, self.steps = draw, steps

    def __iter__(self) -> Iterator[Any]:
        torch.set_num_threads(1)
        for step in self.steps:
            yield self.draw(step)


class Trainer:
    """Weights, their running average, optimiser and the step that was reached.

    Parameters
    ----------
    network : Module
        With its first weights.
    draw : callable
        Returns the batch of a step; depends on nothing but the step.
    loss : callable
        Takes the network and a batch; returns the loss, a Tensor (), and a
        figure to follow, a float.
    schedule : Schedule
    device : str
    """

    def __init__(
        self,
        network: nn.Module,
        draw: Callable[[int], Any],
        loss: Callable[[nn.Module, Any], tuple[Tensor, float]],
        schedule: Schedule,
        device: str = "cpu",
    ):
        self.draw, self.loss, self.schedule, self.device = draw, loss, schedule, device
        self.step = 0
        self.network = network.to(device, memory_format=torch.channels_last)
        self.average = {name: v.clone() for name, v in self.network.state_dict().items()}
        learned = [p for p in self.network.parameters() if p.requires_grad]
        matrices = [p for p in learned if p.ndim > 1]
        others = [p for p in learned if p.ndim <= 1]
        self.optimiser = torch.optim.AdamW(
            [{"params": matrices, "weight_decay": _DECAY}, {"params": others, "weight_decay": 0.0}]
        )

    def run(self, until: int) -> Iterator[tuple[int, float, float]]:
        """Train to a step; yield each step with its loss and figure.

        Raises
        ------
        FloatingPointError
            When the loss is no longer finite.
        """
        batches = _Batches(self.draw, range(self.step, until))
        self.network.train()
        # the forked process shares the memory of what is drawn from
        for batch in DataLoader(batches, batch_size=None, num_workers=1, prefetch_factor=8):
            value, figure = self._advance(batch)
            yield self.step, value, figure

    def _advance(self, batch: Any) -> tuple[float, float]:
        for group in self.optimiser.param_groups:
            group["lr"] = self._rate()
        # of each step, so that a training that was killed goes on alike
        torch.manual_seed(self.schedule.seed * 1_000_003 + self.step)
        with torch.autocast(self.device, dtype=torch.bfloat16):
            value, figure = self.loss(self.network, _moved(batch, self.device))
        if not torch.isfinite(value):
            raise FloatingPointError(f"the loss is not finite at step {self.step}")
        value.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimiser.step()
        self.optimiser.zero_grad()
        self.step += 1
        self._remember()
        return value.item(), figure

    def _rate(self) -> float:
        steps, rate, _, warm_up, fall = self.schedule
        cosine = 0.5 * (1 + math.cos(math.pi * fall * self.step / steps)) + 0.01
        return rate * min(1.0, (self.step + 1) / warm_up) * cosine

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


def _moved(batch: Any, device: str) -> Any:
    """Bring the tensors of a batch, a named tuple of them, to a device."""
    return type(batch)(*(part.to(device) for part in batch))
