"""SAM as its authors' package is mostly used: one call a prompt. For comparison only."""

import numpy as np
from segment_anything import SamPredictor
from segment_anything.modeling import Sam

from cellsieve.promptable.interface import Answers, Prompts
from cellsieve.promptable.meta_sam import MetaSam, as_grey


class OneCallAPrompt:
    """``segment_anything.SamPredictor`` behind our interface, as `MetaSam` is."""

    diameter, halo, prompts = MetaSam.diameter, MetaSam.halo, MetaSam.prompts

    def __init__(self, sam: Sam):
        self.predictor, self.name = SamPredictor(sam.eval()), "SamPredictor"
        self.side = sam.image_encoder.img_size

    def embed(self, picture: np.ndarray) -> SamPredictor:
        """Embed a picture, (h, w) float32; the predictor holds one at a time."""
        # the predictor would enlarge a picture that is not as large as it expects
        missing = [(0, self.side - length) for length in picture.shape]
        grey = np.rint(as_grey(np.pad(picture, missing))).astype(np.uint8)
        self.predictor.set_image(np.repeat(grey[..., None], 3, axis=2))
        return self.predictor

    def answer(self, embedding: SamPredictor, prompts: Prompts) -> Answers:
        """Answer prompt after prompt, three masks each, (N, 3, 256, 256) logits."""
        logits, worth = [], []
        for n in range(len(prompts.points)):
            # the predictor counts whole pixels from their middles
            points = prompts.points[n] - 0.5 if prompts.points.shape[1] else None
            labels = prompts.point_labels[n] if points is not None else None
            box = None if prompts.boxes is None else prompts.boxes[n] - 0.5
            _, iou, low = embedding.predict(points, labels, box)
            logits.append(low)
            worth.append(iou)
        origins = np.zeros((len(logits), 2), np.float32)
        stride = self.side / logits[0].shape[-1]
        return Answers(np.stack(logits), np.stack(worth), origins, stride)
