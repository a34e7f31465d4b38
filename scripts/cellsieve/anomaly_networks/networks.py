"""A backbone of timm that sees crops of nuclei, and what the methods put on top of it."""

from itertools import pairwise
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cellsieve.crops import SIDE
from cellsieve.errors import UserError

# of the paper's four families (FMIC-AI, Table 1) the smallest members; any other name of timm goes
FAMILIES = {
    "vit": "vit_tiny_patch16_224",
    "resnet": "resnet18",
    "efficientnet": "efficientnet_b0",
    "regnet": "regnetx_002",
}
_VISION_TRANSFORMERS = ("vit_", "deit", "test_vit")
_PATCH = 8  # px: eight by eight patches to a crop
_BRIGHTEST = 4.0  # typical nuclei
_DIM = 0.05  # of a typical nucleus, where the logarithm of the light turns linear


class Backbone(nn.Module):
    """A network of timm without its classifier.

    Parameters
    ----------
    name : str
        As timm knows it, or a family of `FAMILIES`.
    pretrained : Path, optional
        Weights of timm for that network (safetensors), ImageNet's for instance: timm fits the
        patches and the places of a transformer to crops.

    Raises
    ------
    UserError
        If timm cannot make it.
    """

    def __init__(self, name: str, pretrained: Path | None = None):
        super().__init__()
        import timm

        name = FAMILIES.get(name, name)
        self.tokens = name.startswith(_VISION_TRANSFORMERS)
        # of a ViT the class token as it leaves the last block
        fitted = {"img_size": SIDE, "patch_size": _PATCH, "final_norm": False}
        fitted["dynamic_img_size"] = True  # windows are larger than crops
        options = fitted if self.tokens else {}
        if pretrained:
            options |= {"pretrained": True, "pretrained_cfg_overlay": {"file": str(pretrained)}}
        try:
            self.body = timm.create_model(name, num_classes=0, in_chans=3, **options)
        except (RuntimeError, TypeError, KeyError) as error:
            fault = " ".join(str(error).split())[:200]
            raise UserError(f"anomaly.backbone {name}: timm cannot make it: {fault}") from error
        self.width = self.body.num_features

    def forward(self, crops: Tensor) -> Tensor:
        """Describe crops, (b, 2, h, w), by features, (b, width)."""
        return self.body(_seen(crops))

    @property
    def last_layer(self) -> nn.Module:
        """The last layer that still knows where things are.

        Of a transformer what follows the last block's first norm reaches the class
        token alone: the places have no gradient there.
        """
        if self.tokens:
            return self.body.blocks[-1].norm1
        return self.body.get_submodule(self.body.feature_info[-1]["module"])

    def plane(self, crops: Tensor) -> Tensor:
        """Return the last plane of features, (b, width, h / stride, w / stride)."""
        features = self.body.forward_features(_seen(crops))
        return self.unrolled(features, crops.shape[-2:]) if self.tokens else features

    def unrolled(self, tokens: Tensor, shape: tuple[int, int]) -> Tensor:
        """Lay the tokens of patches, (b, 1 + n, width), out as a plane; the class token is none."""
        grid = [-(-length // _PATCH) for length in shape]
        return tokens[:, self.body.num_prefix_tokens :].transpose(1, 2).unflatten(2, grid)


def _seen(crops: Tensor) -> Tensor:
    """Show a backbone the light on two scales, and the nucleus' own outline."""
    light = crops[:, :1].clamp(0, _BRIGHTEST)
    return torch.cat([light / 2, torch.log1p(light / _DIM) / 4, crops[:, 1:]], 1)


class Embedding(nn.Module):
    """Unit vectors that normal nuclei are compared in; batch norms never learn statistics.

    Parameters
    ----------
    backbone : Backbone
    projected : int, optional
        Dimensions of the projector's output; without a projector when None.
    unit_centre : bool
        Whether the centre lies on the sphere, as the vectors do.

    Notes
    -----
    As in the published code, the network stays in evaluation mode while it
    learns: the projector's batch norm keeps its first statistics and acts as an
    affine map. `centre` is that of the untrained network, frozen.
    """

    def __init__(self, backbone: Backbone, projected: int | None = None, unit_centre: bool = False):
        super().__init__()
        self.backbone, self.unit_centre = backbone, unit_centre
        width = projected or backbone.width
        self.projector = _projector(backbone.width, projected) if projected else nn.Identity()
        self.register_buffer("centre", torch.zeros(width))
        self.eval()

    def settle(self, z: Tensor) -> None:
        """Freeze the centre: the mean of unit vectors, (n, d), or its direction."""
        mean = z.mean(0)
        self.centre.copy_(F.normalize(mean, dim=0) if self.unit_centre else mean)

    def train(self, mode: bool = True) -> "Embedding":
        """Stay in evaluation mode."""
        return super().train(False)

    def forward(self, crops: Tensor) -> Tensor:
        """Return unit vectors, (b, d)."""
        return F.normalize(self.projector(self.backbone(crops)), dim=-1)


class Classifier(nn.Module):
    """Tells normal crops from those that something was pasted into."""

    def __init__(self, backbone: Backbone, classes: int):
        super().__init__()
        self.backbone = backbone
        self.head = nn.Sequential(
            *_layer(backbone.width, 512), *_layer(512, 128), nn.Linear(128, classes)
        )

    def forward(self, crops: Tensor) -> Tensor:
        """Return logits, (b, classes); the first class is normal."""
        return self.head(self.backbone(crops))


class Interpolator(nn.Module):
    """Tells for each pixel how much of its light is another nucleus'.

    An encoder and a decoder without connections between them, as in Tan et al.
    (MELBA 2022); the encoder is any backbone.
    """

    def __init__(self, backbone: Backbone):
        super().__init__()
        self.backbone = backbone
        with torch.inference_mode():
            backbone.eval()  # nothing is to be learned of an empty picture
            stride = SIDE // backbone.plane(torch.zeros(1, 2, SIDE, SIDE)).shape[-1]
        widths = [backbone.width, *[64] * (stride.bit_length() - 1)]
        self.decoder = nn.Sequential(
            *(_enlarge(a, b) for a, b in pairwise(widths)), nn.Conv2d(widths[-1], 1, 1)
        )

    def forward(self, crops: Tensor) -> Tensor:
        """Return logits of the foreign share, (b, s, s)."""
        return self.decoder(self.backbone.plane(crops))[:, 0]


def _enlarge(width: int, out: int) -> nn.Sequential:
    """Double the resolution of a plane of features."""
    return nn.Sequential(
        nn.Upsample(scale_factor=2),
        nn.Conv2d(width, out, 3, padding=1),
        nn.BatchNorm2d(out),
        nn.ReLU(),
    )


def _projector(width: int, out: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(width, 4096), nn.BatchNorm1d(4096), nn.ReLU(), nn.Linear(4096, out)
    )


def _layer(width: int, out: int) -> list[nn.Module]:
    return [nn.Linear(width, out), nn.BatchNorm1d(out), nn.ReLU()]
