"""Meta's SAM behind our interface, against the package's own predictor."""

import hashlib
from functools import partial

import numpy as np
import pytest
import torch
from segment_anything import SamPredictor, sam_model_registry
from segment_anything.modeling import (
    ImageEncoderViT,
    MaskDecoder,
    PromptEncoder,
    Sam,
    TwoWayTransformer,
)

from cellsieve.errors import UserError
from cellsieve.promptable import load_model
from cellsieve.promptable.interface import Prompts
from cellsieve.promptable.meta_sam import build_sam
from cellsieve.promptable.sam_predictor import OneCallAPrompt
from cellsieve.weights import FOLDER

SIDE, CHANNELS = 512, 32


def tiny_sam():
    """SAM with a vision transformer of two layers and random weights."""
    torch.manual_seed(0)
    norm = partial(torch.nn.LayerNorm, eps=1e-6)
    encoder = ImageEncoderViT(
        img_size=SIDE,
        embed_dim=48,
        depth=2,
        num_heads=3,
        mlp_ratio=2.0,
        out_chans=CHANNELS,
        norm_layer=norm,
        use_rel_pos=True,
        window_size=7,
        global_attn_indexes=(1,),
    )
    prompts = PromptEncoder(CHANNELS, (SIDE // 16,) * 2, (SIDE, SIDE), 4)
    decoder = MaskDecoder(
        transformer_dim=CHANNELS,
        transformer=TwoWayTransformer(2, CHANNELS, 8, 40),
        iou_head_hidden_dim=24,
    )
    sam = Sam(encoder, prompts, decoder).eval()
    # Meta starts these at zero, where a mistake would not show
    for name, tensor in sam.named_parameters():
        if "rel_pos" in name or "pos_embed" in name:
            torch.nn.init.normal_(tensor)
    return sam


@pytest.fixture(scope="module")
def sam():
    return tiny_sam()


@pytest.fixture(scope="module")
def checkpoint(sam, tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "tiny.pth"
    torch.save(sam.state_dict(), path)
    return path


@pytest.fixture(scope="module")
def model(checkpoint):
    return load_model(str(checkpoint), FOLDER, "cpu")


@pytest.fixture(scope="module")
def grey():
    return np.random.default_rng(0).integers(0, 256, (SIDE, 400)).astype(np.uint8)


@pytest.fixture(scope="module")
def predictor(sam, grey):
    predictor = SamPredictor(sam)
    predictor.set_image(np.repeat(grey[..., None], 3, axis=2))
    return predictor


BOXES = np.array([[10, 20, 60, 66], [300, 440, 340, 500], [150, 200, 210, 260]], np.float32)
POINTS = np.array([[[33, 40], [200, 3]], [[320, 460], [5, 5]], [[170.5, 222.5], [380, 490]]])


@pytest.mark.parametrize("kinds", ["box", "points", "both"])
def test_logits_are_those_of_the_predictor(model, predictor, grey, kinds):
    points = POINTS if kinds != "box" else POINTS[:, :0]
    labels = np.tile([1, 0], (3, 1))[:, : points.shape[1]]
    boxes = BOXES if kinds != "points" else None
    embedding = model.embed(grey.astype(np.float32) / 255 * 2)
    answers = model.answer(embedding, Prompts(points.astype(np.float32), labels, boxes))
    assert answers.logits.shape == (3, 4, 64, 64)
    for n in range(3):
        # the predictor counts whole pixels from their middles
        _, iou, low = predictor.predict(
            points[n] - 0.5 if len(points[n]) else None,
            labels[n] if len(points[n]) else None,
            None if boxes is None else boxes[n] - 0.5,
        )
        top, left = (answers.origins[n] / answers.stride).astype(int)
        window = low[:, top : top + 64, left : left + 64]
        assert answers.logits[n, 1:] == pytest.approx(window, abs=1e-4)
        assert answers.predicted_iou[n, 1:] == pytest.approx(iou, abs=1e-4)


def test_one_call_a_prompt_is_the_same_with_the_masks_for_single_prompts(model, sam):
    picture = np.random.default_rng(2).integers(0, 256, (SIDE, SIDE)).astype(np.float32) / 255 * 2
    asked = Prompts(POINTS[:, :1].astype(np.float32), np.ones((3, 1), int), BOXES)
    batched, called = (m.answer(m.embed(picture), asked) for m in (model, OneCallAPrompt(sam)))
    assert called.logits.shape == (3, 3, 128, 128)
    assert called.stride == batched.stride
    assert called.predicted_iou == pytest.approx(batched.predicted_iou[:, 1:], abs=1e-4)
    top, left = (batched.origins[2] / 4).astype(int)
    window = called.logits[2, :, top : top + 64, left : left + 64]
    assert window == pytest.approx(batched.logits[2, 1:], abs=1e-4)


def test_a_window_holds_what_was_asked_about(model):
    picture = np.zeros((SIDE, SIDE), np.float32)
    asked = Prompts(np.zeros((3, 0, 2), np.float32), np.zeros((3, 0), int), BOXES)
    origins = model.answer(model.embed(picture), asked).origins[:, ::-1]
    assert (origins <= BOXES[:, :2]).all()
    assert (origins + 256 >= BOXES[:, 2:]).all()
    assert (origins % 16 == 0).all()


def test_a_prompt_is_answered_alike_in_any_company(model):
    rng = np.random.default_rng(1)
    picture = rng.random((SIDE, SIDE)).astype(np.float32)
    points = rng.uniform(0, SIDE, (20, 1, 2)).astype(np.float32)
    labels = np.ones((20, 1), int)
    embedding = model.embed(picture)
    together = model.answer(embedding, Prompts(points, labels, None))
    alone = model.answer(embedding, Prompts(points[17:18], labels[:1], None))
    assert together.logits[17] == pytest.approx(alone.logits[0], abs=1e-4)


@pytest.mark.parametrize("size", ["vit_b", "vit_l", "vit_h"])
def test_sizes_are_read_off_the_tensors(size):
    with torch.device("meta"):
        theirs = sam_model_registry[size]()
        ours = build_sam(theirs.state_dict())
    shapes = {name: tensor.shape for name, tensor in theirs.state_dict().items()}
    assert {name: tensor.shape for name, tensor in ours.state_dict().items()} == shapes
    for block, other in zip(ours.image_encoder.blocks, theirs.image_encoder.blocks, strict=True):
        assert block.window_size == other.window_size
        assert block.attn.num_heads == other.attn.num_heads


def test_the_name_tells_the_weights(checkpoint, model):
    name, digest = model.name.split("@")
    assert name == checkpoint.name
    assert digest == hashlib.sha256(checkpoint.read_bytes()).hexdigest()


def test_mistakes_are_told(tmp_path):
    torch.save({"layer.weight": torch.zeros(2, 2)}, tmp_path / "other.pth")
    with pytest.raises(UserError, match="neither a file nor one of sam_vit_b"):
        load_model("sam_vit_x", tmp_path, "cpu")
    with pytest.raises(UserError, match=r"there is no file .*sam_vit_h"):
        load_model("sam_vit_h", tmp_path, "cpu")
    with pytest.raises(UserError, match=r"other\.pth: neither weights of the small"):
        load_model(str(tmp_path / "other.pth"), tmp_path, "cpu")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_missing_gpu_is_told(checkpoint):
    with pytest.raises(UserError, match="device cuda"):
        load_model(str(checkpoint), FOLDER, "cuda")
