"""Meta's Segment Anything: a picture embedded once, its prompts decoded in batches."""

from collections.abc import Mapping

import numpy as np
import torch
from segment_anything.modeling import (
    ImageEncoderViT,
    MaskDecoder,
    PromptEncoder,
    Sam,
    TwoWayTransformer,
)
from torch import Tensor, nn
from torch.nn import functional

from cellsieve.promptable.interface import Answers, Prompts

_WHITE = 2.0  # typical nuclei: a typical one is mid-grey, only glare is clipped
_LOGIT_STRIDE = 4  # pixels of the picture; the decoder enlarges its tokens of 16 px by 4
_WINDOW = 16  # tokens; 256 px, more than five nuclei
_BATCH = {"cpu": 16, "cuda": 64}  # prompts; each holds some 40 MB
_DECODER_HEADS = 8  # of every published SAM; the only size that no tensor shows


class MetaSam:
    """Meta's SAM behind `cellsieve.promptable.interface.PromptableModel`.

    Parameters
    ----------
    state : mapping of str to Tensor
        The tensors of a SAM checkpoint; sizes are read off them.
    name : str
    device : str
        ``cpu`` or ``cuda``.

    Notes
    -----
    A nucleus is 48 px across: three of the encoder's patches, twelve logits.
    At twice that the outline gains little, since logits are interpolated, and
    there are four times as many pictures to embed; at half of it a nucleus is
    hardly more than one patch.

    The decoder gives the same logits as ``segment_anything.SamPredictor`` at
    less cost: the picture's tokens stay single where all prompts share them,
    and tokens are enlarged to logits only in a window of 256 px around each
    prompt, which is exact, since enlarging never looks beyond a token.

    References
    ----------
    Kirillov et al., "Segment Anything", ICCV 2023.
    """

    diameter = 48.0
    halo = 128
    # SAM alone outlines nuclei far better from a box than from a point
    # (micro-sam, Archit et al., Nature Methods 2025)
    prompts = ("box",)

    def __init__(self, state: Mapping[str, Tensor], name: str, device: str):
        self.name, self.device = name, torch.device(device)
        # no random numbers are drawn for weights that are about to be replaced
        with torch.device("meta"):
            self.sam = build_sam(state)
        self.sam.load_state_dict({k: v.float() for k, v in state.items()}, assign=True)
        # not among the tensors of a checkpoint
        self.mean = torch.tensor([123.675, 116.28, 103.53], device=self.device).view(-1, 1, 1)
        self.std = torch.tensor([58.395, 57.12, 57.375], device=self.device).view(-1, 1, 1)
        for part in self._parts():
            part.to(self.device).eval().requires_grad_(False)
        self.side = self.sam.image_encoder.img_size

    @torch.inference_mode()
    def embed(self, picture: np.ndarray) -> Tensor:
        """Embed a picture, (h, w) float32 of at most ``side``; return (1, C, h/16, w/16)."""
        grey = torch.from_numpy(as_grey(picture)).to(self.device)
        colour = (grey.float().expand(3, -1, -1) - self.mean) / self.std
        height, width = picture.shape
        padded = functional.pad(colour, (0, self.side - width, 0, self.side - height))
        return self.sam.image_encoder(padded[None])

    @torch.inference_mode()
    def answer(self, embedding: Tensor, prompts: Prompts) -> Answers:
        """Answer all prompts of a picture, four masks each.

        SAM trained the first mask on several prompts at once and the other
        three on a single, ambiguous one (part, whole, group).
        """
        corners = self._windows(prompts)
        size = _BATCH[self.device.type]
        found = [
            self._decode(embedding, _part(prompts, slice(i, i + size)), corners[i : i + size])
            for i in range(0, len(corners), size)
        ]
        logits, predicted_iou = (
            torch.cat(parts).cpu().numpy() for parts in zip(*found, strict=True)
        )
        origins = (corners * self._patch).astype(np.float32)
        return Answers(logits, predicted_iou, origins, _LOGIT_STRIDE)

    @property
    def _patch(self) -> int:
        return self.side // self.sam.prompt_encoder.image_embedding_size[0]

    def _parts(self) -> tuple[nn.Module, ...]:
        return self.sam.image_encoder, self.sam.prompt_encoder, self.sam.mask_decoder

    def _windows(self, prompts: Prompts) -> np.ndarray:
        """First (row, column) of each prompt's window, (N, 2), in tokens."""
        if prompts.boxes is not None:
            middle = (prompts.boxes[:, :2] + prompts.boxes[:, 2:]) / 2
        else:
            first = np.argmax(prompts.point_labels == 1, axis=1)
            middle = prompts.points[np.arange(len(first)), first]
        side = self.side // self._patch
        corner = np.rint(middle[:, ::-1] / self._patch).astype(int) - _WINDOW // 2
        return np.clip(corner, 0, max(0, side - _WINDOW))

    def _decode(
        self, embedding: Tensor, prompts: Prompts, corners: np.ndarray
    ) -> tuple[Tensor, Tensor]:
        """Logits, (N, 4, 64, 64), in the windows, and what the masks are worth, (N, 4)."""
        decoder = self.sam.mask_decoder
        asked, dense = self._encode(prompts)
        own = torch.cat([decoder.iou_token.weight, decoder.mask_tokens.weight])
        tokens = torch.cat([own.expand(len(asked), -1, -1), asked], dim=1)
        place = self.sam.prompt_encoder.get_dense_pe()
        # one picture for all prompts: the first layers broadcast it
        answered, pixels = decoder.transformer(embedding + dense[:1], place, tokens)
        fine = decoder.output_upscaling(self._cut(pixels, corners))
        masks = answered[:, 1 : 1 + decoder.num_mask_tokens]
        weights = [mlp(masks[:, i]) for i, mlp in enumerate(decoder.output_hypernetworks_mlps)]
        logits = torch.einsum("nmc,nchw->nmhw", torch.stack(weights, 1), fine)
        return logits, decoder.iou_prediction_head(answered[:, 0])

    def _encode(self, prompts: Prompts) -> tuple[Tensor, Tensor]:
        """Tokens of the prompts, (N, T, C), and of no given mask, (N, C, h, w)."""

        def tensor(values: np.ndarray) -> Tensor:
            return torch.as_tensor(values, dtype=torch.float32, device=self.device)

        # SAM adds half a pixel to what it takes for indices of pixels
        points = boxes = None
        if prompts.points.shape[1]:
            points = tensor(prompts.points - 0.5), tensor(prompts.point_labels)
        if prompts.boxes is not None:
            boxes = tensor(prompts.boxes - 0.5)
        return self.sam.prompt_encoder(points=points, boxes=boxes, masks=None)

    def _cut(self, pixels: Tensor, corners: np.ndarray) -> Tensor:
        """Cut each prompt's window out of its tokens, (N, h·w, C); return (N, C, 16, 16)."""
        side = self.side // self._patch
        reach = torch.arange(min(_WINDOW, side), device=self.device)
        rows, cols = (
            torch.as_tensor(start, device=self.device)[:, None] + reach for start in corners.T
        )
        grid = pixels.view(len(pixels), side, side, -1)
        which = torch.arange(len(pixels), device=self.device)[:, None, None]
        return grid[which, rows[:, :, None], cols[:, None, :]].permute(0, 3, 1, 2)


def as_grey(picture: np.ndarray) -> np.ndarray:
    """Grey values, 0 to 255, of a picture in which a typical nucleus is 1."""
    return 255 * np.clip(picture / _WHITE, 0, 1)


def build_sam(state: Mapping[str, Tensor]) -> Sam:
    """Build a SAM of the sizes that the tensors of a checkpoint have.

    Parameters
    ----------
    state : mapping of str to Tensor

    Returns
    -------
    Sam
        Without the weights.

    Raises
    ------
    KeyError
        If a tensor that every SAM with a vision transformer has is missing.
    """
    channels = state["image_encoder.neck.0.weight"].shape[0]
    encoder = _image_encoder(state, channels)
    grid = encoder.img_size // encoder.patch_embed.proj.kernel_size[0]
    prompt_encoder = PromptEncoder(
        channels,
        image_embedding_size=(grid, grid),
        input_image_size=(encoder.img_size, encoder.img_size),
        mask_in_chans=state["prompt_encoder.mask_downscaling.3.weight"].shape[0],
    )
    return Sam(encoder, prompt_encoder, _mask_decoder(state, channels))


def _image_encoder(state: Mapping[str, Tensor], channels: int) -> ImageEncoderViT:
    dim, _, _, patch = state["image_encoder.patch_embed.proj.weight"].shape
    grid = state["image_encoder.pos_embed"].shape[1]
    depth = _count(state, "image_encoder.blocks")
    block = "image_encoder.blocks.{}.attn.rel_pos_h"
    # relative positions of a block: 2 * side of its attention - 1
    reach = [(state[block.format(i)].shape[0] + 1) // 2 for i in range(depth)]
    return ImageEncoderViT(
        img_size=grid * patch,
        patch_size=patch,
        embed_dim=dim,
        depth=depth,
        num_heads=dim // state[block.format(0)].shape[1],
        mlp_ratio=state["image_encoder.blocks.0.mlp.lin1.weight"].shape[0] / dim,
        out_chans=channels,
        norm_layer=_norm,
        use_rel_pos=True,
        window_size=min(reach),
        global_attn_indexes=tuple(i for i in range(depth) if reach[i] == grid),
    )


def _norm(dim: int) -> nn.LayerNorm:
    return nn.LayerNorm(dim, eps=1e-6)


def _mask_decoder(state: Mapping[str, Tensor], channels: int) -> MaskDecoder:
    transformer = "mask_decoder.transformer.layers"
    return MaskDecoder(
        transformer_dim=channels,
        transformer=TwoWayTransformer(
            depth=_count(state, transformer),
            embedding_dim=channels,
            num_heads=_DECODER_HEADS,
            mlp_dim=state[f"{transformer}.0.mlp.lin1.weight"].shape[0],
        ),
        num_multimask_outputs=state["mask_decoder.mask_tokens.weight"].shape[0] - 1,
        iou_head_depth=_count(state, "mask_decoder.iou_prediction_head.layers"),
        iou_head_hidden_dim=state["mask_decoder.iou_prediction_head.layers.0.weight"].shape[0],
    )


def _count(state: Mapping[str, Tensor], prefix: str) -> int:
    """How many modules a list has, from the numbers in its tensors' names."""
    inside = [key.removeprefix(f"{prefix}.") for key in state if key.startswith(f"{prefix}.")]
    return 1 + max((int(key.split(".")[0]) for key in inside), default=-1)


def _part(prompts: Prompts, rows: slice) -> Prompts:
    return Prompts(*(None if values is None else values[rows] for values in prompts))
