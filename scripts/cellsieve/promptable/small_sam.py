"""Our own small promptable model: it ships with the project and needs no network."""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from cellsieve.convolutions import fold_batch_norms
from cellsieve.promptable.interface import Answers, Prompts
from cellsieve.promptable.small_network import STRIDE, TOKENS, WINDOW, SmallSam, cut_windows

DIAMETER = 32  # px, of the nuclei it was trained on
_STEP = 16  # px, the coarsest grid inside the encoder
_AT_ONCE = 64  # windows answered together; more is not faster
_CORNERS = (2, 3)  # kinds of prompts beside 0, outside, and 1, inside


class SmallPromptable:
    """`SmallSam` as a `cellsieve.promptable.interface.PromptableModel`."""

    diameter = float(DIAMETER)
    side = 768
    halo = 128  # a window, and what the encoder sees around it
    prompts = ("point", "neighbours")  # a coarse box is too tight, see docs/benchmarks.md

    def __init__(self, state: Mapping[str, Tensor], name: str, device: str):
        network = SmallSam()
        network.load_state_dict(state)
        network.eval()
        fold_batch_norms(network)
        self.network = network.to(device, memory_format=torch.channels_last)
        self.name = name
        self.device = device

    @torch.inference_mode()
    def embed(self, picture: np.ndarray) -> Tensor:
        """Embed a picture, (h, w) float32; returns (64, h / 4, w / 4)."""
        height, width = picture.shape
        padded = np.pad(picture, ((0, -height % _STEP), (0, -width % _STEP)))
        batch = torch.from_numpy(np.ascontiguousarray(padded, np.float32))[None, None]
        return self.network.embed(batch.to(self.device, memory_format=torch.channels_last))[0]

    @torch.inference_mode()
    def answer(self, embedding: Tensor, prompts: Prompts) -> Answers:
        """Answer each prompt in the window around its box or its first point."""
        points, kinds = _as_points(prompts)
        middles = prompts.points[:, 0] if prompts.boxes is None else _middles(prompts.boxes)
        # x and y in tokens; the window of every prompt lies alike around it
        corners = np.rint(middles / STRIDE - TOKENS / 2).astype(np.int64)
        points = points - STRIDE * corners[:, None]
        outside = ((points < 0) | (points > WINDOW)).any(-1) & (kinds == 0)
        kinds = np.where(outside, -1, kinds)
        logits, worth = [], []
        for start in range(0, len(points), _AT_ONCE):
            some = slice(start, start + _AT_ONCE)
            windows = cut_windows(embedding, torch.from_numpy(corners[some, ::-1].copy()))
            answered = self.network.answer(
                windows,
                torch.from_numpy(points[some].astype(np.float32)).to(self.device),
                torch.from_numpy(kinds[some].astype(np.int64)).to(self.device),
            )
            logits.append(answered[0].float().cpu().numpy())
            worth.append(answered[1].float().cpu().numpy())
        origins = (STRIDE * corners[:, ::-1]).astype(np.float32)
        return Answers(np.concatenate(logits), np.concatenate(worth), origins, 1.0)


def is_small(state: Mapping[str, Tensor]) -> bool:
    """Tell whether these are weights of the small model, by the names of its encoder."""
    return any(name.startswith("encoder.stem.") for name in state)


def _as_points(prompts: Prompts) -> tuple[np.ndarray, np.ndarray]:
    """Put the corners of the boxes among the points, (N, P + 2, 2) and (N, P + 2)."""
    if prompts.boxes is None:
        return prompts.points, prompts.point_labels
    corners = prompts.boxes.reshape(-1, 2, 2)
    kinds = np.broadcast_to(_CORNERS, corners.shape[:2])
    return (
        np.concatenate([corners, prompts.points], axis=1),
        np.concatenate([kinds, prompts.point_labels], axis=1),
    )


def _middles(boxes: np.ndarray) -> np.ndarray:
    return (boxes[:, :2] + boxes[:, 2:]) / 2
