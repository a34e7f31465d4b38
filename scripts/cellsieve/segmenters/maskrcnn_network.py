"""Mask R-CNN for nuclei, of torchvision's parts, that learns nothing where nothing is known."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.backbone_utils import resnet_fpn_backbone
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor
from torchvision.models.detection.roi_heads import RoIHeads, fastrcnn_loss
from torchvision.models.detection.rpn import RegionProposalNetwork, RPNHead
from torchvision.ops import FeaturePyramidNetwork, MultiScaleRoIAlign, roi_align

from cellsieve.convolutions import Residual, contrast, convolution

_CLASSES = 2  # background and nucleus
_RATIOS = (0.5, 1.0, 2.0)  # height to width of anchors
_WIDTHS = (32, 64, 96, 128)  # channels of the light backbone at stride 2, 4, 8 and 16
_LIGHT = 64  # channels of its pyramid
_UNKNOWN = 0.5  # share of a box on ignored pixels above which it is no background
_TO_LEARN = 1000  # proposals of a picture and level in training
_ANY_NUMBER = 50_000  # boxes of a tile and level: far more than nuclei fit in
_SURE = 0.5  # score of a nucleus
_COARSER = 112  # px of a box for which stride 16 is enough; half of what is usual


class _Plan(NamedTuple):
    """What a network is made of, by its backbone.

    Attributes
    ----------
    backbone : callable
        Makes the network from pictures to a pyramid of maps.
    planes : int
        Of its input; all alike.
    anchors : tuple of tuple of int
        Sizes at each level of the pyramid, px.
    neurons : int
        Of the two hidden layers that judge a box.
    masks : tuple of int
        Channels of the convolutions that draw a mask.
    sight : int
        Pixels beyond which the backbone hardly sees anything.
    """

    backbone: Callable[[], nn.Module]
    planes: int
    anchors: tuple[tuple[int, ...], ...]
    neurons: int
    masks: tuple[int, ...]
    sight: int


class LightPyramid(nn.Module):
    """A small feature pyramid at stride 4, 8 and 16.

    The finest convolution works on blocks of 2×2 pixels: on a CPU, full
    resolution would cost more than all the rest.

    References
    ----------
    Lin et al., "Feature Pyramid Networks", CVPR 2017.
    """

    out_channels = _LIGHT

    def __init__(self):
        super().__init__()
        self.stem = convolution(4, _WIDTHS[0])
        self.down = nn.ModuleList(
            nn.Sequential(convolution(a, b, 2), Residual(b), Residual(b))
            for a, b in pairwise(_WIDTHS)
        )
        self.fpn = FeaturePyramidNetwork(list(_WIDTHS[1:]), _LIGHT)

    def forward(self, pictures: Tensor) -> dict[str, Tensor]:
        """Return maps (B, 64, h / s, w / s) of pictures (B, 1, h, w), from fine to coarse."""
        found = self.stem(functional.pixel_unshuffle(pictures, 2))
        levels = {}
        for name, stage in enumerate(self.down):
            levels[str(name)] = found = stage(found)
        return self.fpn(levels)


def _resnet50() -> nn.Module:
    """Return the usual pyramid at stride 4 to 32; nuclei are too small for a coarser one."""
    backbone = resnet_fpn_backbone(
        backbone_name="resnet50", weights=None, norm_layer=nn.BatchNorm2d, trainable_layers=5
    )
    backbone.fpn.extra_blocks = None
    return backbone


_PLANS = {
    "light": _Plan(LightPyramid, 1, ((16, 24), (36, 54), (80, 120)), 256, (64, 64), 160),
    "resnet50": _Plan(_resnet50, 3, ((16,), (32,), (64,), (128,)), 1024, (256,) * 4, 256),
}
BACKBONES = tuple(_PLANS)


class MaskRcnn(nn.Module):
    """Finds nuclei as boxes and draws a mask in each.

    Pictures are neither resized nor normalised, and there is no limit to the
    number of nuclei that a picture could reach.

    Parameters
    ----------
    backbone : str
        ``light``, for CPUs, or ``resnet50``.

    Raises
    ------
    ValueError
        If there is no such backbone.

    References
    ----------
    He et al., "Mask R-CNN", ICCV 2017.
    """

    def __init__(self, backbone: str):
        super().__init__()
        if backbone not in _PLANS:
            raise ValueError(f"backbone {backbone!r}; allowed: {', '.join(_PLANS)}")
        plan = _PLANS[backbone]
        self.planes, self.sight = plan.planes, plan.sight
        self.backbone = plan.backbone()
        self.rpn = _proposals(plan, self.backbone.out_channels)
        self.roi_heads = _heads(plan, self.backbone.out_channels)

    def forward(
        self, pictures: Tensor, targets: Sequence[dict[str, Tensor]] | None = None
    ) -> dict[str, Tensor] | list[dict[str, Tensor]]:
        """Learn from pictures, or find their nuclei.

        Parameters
        ----------
        pictures : Tensor, (B, 1, h, w), float32
            Sides are multiples of the coarsest stride; a typical nucleus is
            about 1 and 32 px across.
        targets : sequence of dict of str to Tensor, optional
            In training, of each picture: ``boxes`` (n, 4) of its nuclei, x and y
            of the first and the last corner; ``labels`` (n,), all 1; ``masks``
            (n, h, w), bool; ``ignored`` (h, w), bool, false in nuclei.

        Returns
        -------
        dict of str to Tensor, or list of dict of str to Tensor
            In training the losses; else, of each picture, ``boxes`` (n, 4),
            ``scores`` (n,), falling, and ``masks`` (n, 1, 28, 28), the chance of
            nucleus over the box.
        """
        # boxes of the precision of bfloat16 would be pixels off
        planes = contrast(pictures).expand(-1, self.planes, -1, -1)
        features = {name: level.float() for name, level in self.backbone(planes).items()}
        sizes = [tuple(pictures.shape[-2:])] * len(pictures)
        boxes, of_proposals = self.rpn(ImageList(pictures, sizes), features, targets)
        found, of_heads = self.roi_heads(features, boxes, sizes, targets)
        return {**of_proposals, **of_heads} if self.training else found


def share_inside(boxes: Tensor, mask: Tensor) -> Tensor:
    """Return how much of each box is mask, of what lies in the picture.

    Parameters
    ----------
    boxes : Tensor, (n, 4)
        x and y of the first and the last corner, px; taken to whole pixels.
    mask : Tensor, (h, w), bool

    Returns
    -------
    Tensor, (n,), float32
        0 to 1; 0 also for a box without a pixel.
    """
    height, width = mask.shape
    sums = functional.pad(mask.long().cumsum(0).cumsum(1), (1, 0, 1, 0))
    x0, x1 = (boxes[:, i].round().long().clamp(0, width) for i in (0, 2))
    y0, y1 = (boxes[:, i].round().long().clamp(0, height) for i in (1, 3))
    inside = sums[y1, x1] - sums[y0, x1] - sums[y1, x0] + sums[y0, x0]
    return inside / ((x1 - x0) * (y1 - y0)).clamp(min=1)


class KnownProposals(RegionProposalNetwork):
    """Proposes boxes; anchors on ignored pixels are no background."""

    def assign_targets_to_anchors(
        self, anchors: list[Tensor], targets: list[dict[str, Tensor]]
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Label anchors 1 for a nucleus, 0 for background, -1 for neither."""
        labels, matched = super().assign_targets_to_anchors(anchors, targets)
        for label, boxes, target in zip(labels, anchors, targets, strict=True):
            label[(label == 0) & (share_inside(boxes, target["ignored"]) > _UNKNOWN)] = -1
        return labels, matched

    def compute_loss(
        self,
        objectness: Tensor,
        pred_bbox_deltas: Tensor,
        labels: list[Tensor],
        regression_targets: list[Tensor],
    ) -> tuple[Tensor, Tensor]:
        """Return the losses of scores and boxes; 0 where nothing at all is known."""
        if all((label < 0).all() for label in labels):
            return 0 * objectness.sum(), 0 * pred_bbox_deltas.sum()
        return super().compute_loss(objectness, pred_bbox_deltas, labels, regression_targets)


class KnownHeads(RoIHeads):
    """Judges boxes and draws masks; ignored pixels teach neither."""

    def select_training_samples(
        self, proposals: list[Tensor], targets: list[dict[str, Tensor]]
    ) -> tuple[list[Tensor], list[Tensor], list[Tensor], list[Tensor]]:
        """Draw boxes to learn from, none of them mostly ignored but of a nucleus."""
        _, labels = self.assign_targets_to_proposals(
            proposals, [t["boxes"] for t in targets], [t["labels"] for t in targets]
        )
        known = [
            boxes[(label != 0) | (share_inside(boxes, target["ignored"]) <= _UNKNOWN)]
            for boxes, label, target in zip(proposals, labels, targets, strict=True)
        ]
        return super().select_training_samples(known, targets)

    def forward(
        self,
        features: dict[str, Tensor],
        proposals: list[Tensor],
        image_shapes: list[tuple[int, int]],
        targets: list[dict[str, Tensor]] | None = None,
    ) -> tuple[list[dict[str, Tensor]], dict[str, Tensor]]:
        """Return the nuclei found, none in training, and the losses, none else."""
        if not self.training:
            return super().forward(features, proposals, image_shapes)
        boxes, matched, labels, offsets = self.select_training_samples(proposals, targets)
        judged = self.box_head(self.box_roi_pool(features, boxes, image_shapes))
        scores, moves = self.box_predictor(judged)
        if len(scores):
            of_class, of_box = fastrcnn_loss(scores, moves, labels, offsets)
        else:
            of_class, of_box = 0 * scores.sum(), 0 * moves.sum()
        nuclei = [label > 0 for label in labels]
        boxes = [b[n] for b, n in zip(boxes, nuclei, strict=True)]
        matched = [m[n] for m, n in zip(matched, nuclei, strict=True)]
        drawn = self.mask_head(self.mask_roi_pool(features, boxes, image_shapes))
        of_mask = mask_loss(self.mask_predictor(drawn)[:, 1].float(), boxes, matched, targets)
        return [], {"loss_classifier": of_class, "loss_box_reg": of_box, "loss_mask": of_mask}


def mask_loss(
    logits: Tensor, boxes: list[Tensor], matched: list[Tensor], targets: list[dict[str, Tensor]]
) -> Tensor:
    """Compare masks with those of the nuclei, but for ignored pixels around them.

    Parameters
    ----------
    logits : Tensor, (n, m, m), float32
        Of nucleus, over the boxes of all pictures.
    boxes, matched : list of Tensor, (k, 4) and (k,)
        The boxes of each picture and the number of the nucleus of each.
    targets : list of dict of str to Tensor
        As `MaskRcnn` takes them.

    Returns
    -------
    Tensor, ()
        Mean cross-entropy; 0 without boxes.
    """
    side = logits.shape[-1]
    truth, unknown = [], []
    for places, numbers, target in zip(boxes, matched, targets, strict=True):
        truth.append(_cut(target["masks"], numbers, places, side))
        unknown.append(_cut(target["ignored"][None], torch.zeros_like(numbers), places, side))
    truth = torch.cat(truth)
    weight = torch.maximum(truth, 1 - torch.cat(unknown))
    error = functional.binary_cross_entropy_with_logits(logits, truth, weight, reduction="sum")
    return error / weight.sum().clamp(min=1)


def _cut(masks: Tensor, numbers: Tensor, boxes: Tensor, side: int) -> Tensor:
    """Resample from the numbered masks what lies in boxes, (k, side, side) float32."""
    used, numbers = numbers.unique(return_inverse=True)
    places = torch.cat([numbers[:, None].to(boxes), boxes], 1)
    return roi_align(masks[used, None].float(), places, side, aligned=True)[:, 0]


def _proposals(plan: _Plan, channels: int) -> RegionProposalNetwork:
    anchors = AnchorGenerator(plan.anchors, (_RATIOS,) * len(plan.anchors))
    many = {"training": _TO_LEARN, "testing": _ANY_NUMBER}
    return KnownProposals(
        anchors,
        _RpnHead(channels, anchors.num_anchors_per_location()[0]),
        fg_iou_thresh=0.7,
        bg_iou_thresh=0.3,
        batch_size_per_image=256,
        positive_fraction=0.5,
        pre_nms_top_n=many,
        post_nms_top_n=many,
        nms_thresh=0.7,
    )


def _heads(plan: _Plan, channels: int) -> RoIHeads:
    levels = [str(i) for i in range(len(plan.anchors))]
    return KnownHeads(
        MultiScaleRoIAlign(levels, 7, 1, canonical_scale=_COARSER),
        TwoMLPHead(channels * 7**2, plan.neurons),
        _BoxPredictor(plan.neurons, _CLASSES),
        fg_iou_thresh=0.5,
        bg_iou_thresh=0.5,
        batch_size_per_image=128,
        positive_fraction=0.25,
        bbox_reg_weights=None,
        score_thresh=_SURE,
        nms_thresh=0.5,
        detections_per_img=_ANY_NUMBER,
        mask_roi_pool=MultiScaleRoIAlign(levels, 14, 1, canonical_scale=_COARSER),
        mask_head=MaskRCNNHeads(channels, plan.masks, dilation=1),
        mask_predictor=MaskRCNNPredictor(plan.masks[-1], plan.masks[-1], _CLASSES),
    )


# scores of the precision of bfloat16 would tie, and boxes would be pixels off


class _RpnHead(RPNHead):
    def forward(self, x: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        hidden = [self.conv(level) for level in x]
        with torch.autocast(x[0].device.type, enabled=False):
            return tuple(
                [last(h.float()) for h in hidden] for last in (self.cls_logits, self.bbox_pred)
            )


class _BoxPredictor(FastRCNNPredictor):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        with torch.autocast(x.device.type, enabled=False):
            return super().forward(x.float())
