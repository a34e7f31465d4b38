"""What a promptable model is: one picture embedded once, then many prompts answered."""

from typing import Any, NamedTuple, Protocol

import numpy as np


class Prompts(NamedTuple):
    """Prompts for one picture, in its pixels; the middle of the first pixel is (0.5, 0.5).

    Attributes
    ----------
    points : ndarray, (N, P, 2), float32
        ``(x, y)``, as SAM takes them.
    point_labels : ndarray, (N, P), int
        1 lies in the nucleus, 0 outside it, -1 is no point.
    boxes : ndarray, (N, 4), float32, or None
        ``(x0, y0, x1, y1)``, edges of the box.
    """

    points: np.ndarray
    point_labels: np.ndarray
    boxes: np.ndarray | None


class Answers(NamedTuple):
    """Masks for the prompts of one picture.

    Attributes
    ----------
    logits : ndarray, (N, M, h, w), float32
        Above 0 is nucleus; M masks for each prompt.
    predicted_iou : ndarray, (N, M), float32
        What the model thinks that each mask is worth.
    origins : ndarray, (N, 2), float32
        ``(y, x)`` of the upper left corner of each prompt's logits, in pixels
        of the picture.
    stride : float
        Pixels of the picture to a pixel of the logits.
    """

    logits: np.ndarray
    predicted_iou: np.ndarray
    origins: np.ndarray
    stride: float


class PromptableModel(Protocol):
    """A model that outlines what it is pointed at.

    Attributes
    ----------
    diameter : float
        Pixels that a typical nucleus should have across in the pictures.
    side : int
        Largest height and width of a picture, in pixels.
    halo : int
        Pixels of surroundings that a prompt needs in its picture to be answered
        as in any other: nearly so by a convolutional model, less by a vision
        transformer, which looks at the whole picture. ``side`` and ``halo`` are
        multiples of the stride at which the model embeds, so that pictures
        always begin at one.
    name : str
        File of the weights and its SHA-256, for records.
    prompts : tuple of str
        The kinds of prompts that measured best: of ``point``, ``box``,
        ``darkest``, ``neighbours``.
    """

    diameter: float
    side: int
    halo: int
    name: str
    prompts: tuple[str, ...]

    def embed(self, picture: np.ndarray) -> Any:
        """Embed a picture, (h, w) float32; a typical nucleus is about 1, background 0.

        At the field's right and lower border a picture may be smaller than ``side``.
        """

    def answer(self, embedding: Any, prompts: Prompts) -> Answers:
        """Answer all prompts of a picture, in as few batches as memory allows."""
