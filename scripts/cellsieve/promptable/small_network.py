"""The network of our own small promptable model: SAM's parts, for nuclei and a CPU."""

from itertools import pairwise

import torch
from segment_anything.modeling import MaskDecoder, PromptEncoder, TwoWayTransformer
from torch import Tensor, nn
from torch.nn import functional

from cellsieve.convolutions import Residual, contrast, convolution

STRIDE = 4  # pixels of the picture to a token of the embedding
WINDOW = 96  # px, of the square in which a prompt is answered: three diameters
TOKENS = WINDOW // STRIDE
_WIDTHS = (32, 64, 96, 128)  # channels at stride 2, 4, 8 and 16
_DIM = 64


class SmallSam(nn.Module):
    """A convolutional image encoder with SAM's prompt encoder and mask decoder.

    SAM answers each prompt on the embedding of the whole picture. A nucleus is
    small, so this network cuts a window of three diameters around each prompt
    out of the embedding and answers there: the cost of a prompt does not depend
    on the picture's size, and neither does its answer.

    References
    ----------
    Kirillov et al., "Segment Anything", ICCV 2023 (the decoder).
    """

    def __init__(self):
        super().__init__()
        self.encoder = Encoder()
        self.prompt_encoder = PromptEncoder(_DIM, (TOKENS, TOKENS), (WINDOW, WINDOW), 4)
        self.decoder = MaskDecoder(
            transformer_dim=_DIM,
            transformer=TwoWayTransformer(2, _DIM, num_heads=4, mlp_dim=2 * _DIM),
            iou_head_hidden_dim=_DIM,
        )

    def embed(self, pictures: Tensor) -> Tensor:
        """Embed pictures.

        Parameters
        ----------
        pictures : Tensor, (B, 1, h, w)
            Sides are multiples of 16; a typical nucleus is about 1.

        Returns
        -------
        Tensor, (B, 64, h / 4, w / 4)
        """
        return self.encoder(contrast(pictures))

    def answer(self, windows: Tensor, points: Tensor, kinds: Tensor) -> tuple[Tensor, Tensor]:
        """Answer one prompt in each window.

        Parameters
        ----------
        windows : Tensor, (N, 64, 24, 24)
            Cut out of an embedding.
        points : Tensor, (N, P, 2)
            (x, y) in pixels of the window.
        kinds : Tensor, (N, P), integer
            0 outside the nucleus, 1 inside, 2 and 3 the corners of its box, -1 nothing.

        Returns
        -------
        logits : Tensor, (N, 3, 96, 96)
        predicted_iou : Tensor, (N, 3)
        """
        decoder = self.decoder
        place = self.prompt_encoder.get_dense_pe().expand(len(windows), -1, -1, -1)
        own = torch.cat([decoder.iou_token.weight, decoder.mask_tokens.weight])
        tokens = torch.cat([own.expand(len(windows), -1, -1), self._prompts(points, kinds)], 1)
        answered, pixels = decoder.transformer(windows, place, tokens)
        pixels = pixels.transpose(1, 2).reshape(windows.shape)
        fine = decoder.output_upscaling(pixels)
        weights = torch.stack(
            [mlp(answered[:, 1 + i]) for i, mlp in enumerate(decoder.output_hypernetworks_mlps)], 1
        )
        logits = torch.einsum("nmc,nchw->nmhw", weights[:, 1:], fine)
        return logits, decoder.iou_prediction_head(answered[:, 0])[:, 1:]

    def _prompts(self, points: Tensor, kinds: Tensor) -> Tensor:
        encoder = self.prompt_encoder
        # bfloat16, as in training, would round places to half a pixel
        with torch.autocast(points.device.type, enabled=False):
            place = encoder.pe_layer.forward_with_coords(points, (WINDOW, WINDOW))
        names = torch.cat(
            [encoder.not_a_point_embed.weight, *(e.weight for e in encoder.point_embeddings)]
        )
        return names[kinds + 1] + place * (kinds >= 0).unsqueeze(-1)


def cut_windows(embedding: Tensor, corners: Tensor) -> Tensor:
    """Cut windows out of one picture's embedding; zeros lie beyond its edges.

    Parameters
    ----------
    embedding : Tensor, (C, h, w)
    corners : Tensor, (N, 2), integer
        First (row, column) of each window in tokens; may lie outside.

    Returns
    -------
    Tensor, (N, C, 24, 24)
    """
    padded = functional.pad(embedding, (TOKENS,) * 4)
    return torch.stack(
        [
            padded[:, y + TOKENS : y + 2 * TOKENS, x + TOKENS : x + 2 * TOKENS]
            for y, x in corners.clamp(-TOKENS).tolist()
        ]
    )


class Encoder(nn.Module):
    """Residual convolutions down to stride 16 and back up to stride 4."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(convolution(1, 16), convolution(16, _WIDTHS[0], 2))
        self.down = nn.ModuleList(
            nn.Sequential(convolution(a, b, 2), Residual(b), Residual(b))
            for a, b in pairwise(_WIDTHS)
        )
        self.fine = convolution(_WIDTHS[0], _DIM, 2)
        self.lateral = nn.ModuleList(nn.Conv2d(width, _DIM, 1) for width in _WIDTHS[1:])
        self.up = nn.ModuleList(Residual(_DIM) for _ in _WIDTHS[1:])
        self.out = nn.Conv2d(_DIM, _DIM, 1)

    def forward(self, pictures: Tensor) -> Tensor:
        """Return the embedding, (B, 64, h / 4, w / 4)."""
        first = self.stem(pictures)
        levels = [first]
        for stage in self.down:
            levels.append(stage(levels[-1]))
        coarse: Tensor | None = None
        for level, lateral, up in zip(levels[:0:-1], self.lateral[::-1], self.up, strict=True):
            here = lateral(level)
            if coarse is not None:
                here = here + functional.interpolate(coarse, scale_factor=2.0)
            coarse = up(here)
        return self.out(coarse + self.fine(first))
