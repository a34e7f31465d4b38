"""A backbone of timm that sees crops of nuclei, and what the methods put on top of it."""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cellsieve.crops import SIDE

# of the paper's four families (FMIC-AI, Table 1) the smallest members; any other name of timm goes
FAMILIES = {
    "vit": "vit_tiny_patch16_224",
    "resnet": "resnet18",
    "efficientnet": "efficientnet_b0",
    "regnet": "regnetx_002",
}
_PATCH = 8  # px: eight by eight patches to a crop
_BRIGHTEST = 4.0  # typical nuclei
_DIM = 0.05  # of a typical nucleus, where the logarithm of the light turns linear


class Backbone(nn.Module):
    """A network of timm without its classifier.

    Parameters
    ----------
    name : str
        As timm knows it, or a family of `FAMILIES`.
    """

    def __init__(self, name: str):
        super().__init__()
        import timm

        name = FAMILIES.get(name, name)
        fitted = {"img_size": SIDE, "patch_size": _PATCH} if name.startswith("vit") else {}
        # of a ViT the class token, as it leaves the last block
        fitted |= {"class_token": True, "final_norm": False} if fitted else {}
        self.body = timm.create_model(name, num_classes=0, in_chans=3, **fitted)
        self.width = self.body.num_features

    def forward(self, crops: Tensor) -> Tensor:
        """Describe crops, (b, 2, s, s), by features, (b, width)."""
        light = crops[:, :1].clamp(0, _BRIGHTEST)
        return self.body(torch.cat([light / 2, torch.log1p(light / _DIM) / 4, crops[:, 1:]], 1))


class Embedding(nn.Module):
    """Unit vectors that normal nuclei are compared in; batch norms never learn statistics.

    Parameters
    ----------
    backbone : Backbone
    projected : int, optional
        Dimensions of the projector's output; without a projector when None.

    Notes
    -----
    As in the published code, the network stays in evaluation mode while it
    learns: the projector's batch norm keeps its first statistics and acts as an
    affine map. `centre` is that of the untrained network, frozen.
    """

    def __init__(self, backbone: Backbone, projected: int | None = None):
        super().__init__()
        self.backbone = backbone
        width = projected or backbone.width
        self.projector = _projector(backbone.width, projected) if projected else nn.Identity()
        self.register_buffer("centre", torch.zeros(width))
        self.eval()

    def settle(self, z: Tensor) -> None:
        """Freeze the centre: the direction of the mean of unit vectors, (n, d)."""
        self.centre.copy_(F.normalize(z.mean(0), dim=0))

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
        self.head = nn.Sequential(*_layer(backbone.width, 512), *_layer(512, 128), nn.Linear(128, classes))

    def forward(self, crops: Tensor) -> Tensor:
        """Return logits, (b, classes); the first class is normal."""
        return self.head(self.backbone(crops))


def _projector(width: int, out: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(width, 4096), nn.BatchNorm1d(4096), nn.ReLU(), nn.Linear(4096, out))


def _layer(width: int, out: int) -> list[nn.Module]:
    return [nn.Linear(width, out), nn.BatchNorm1d(out), nn.ReLU()]
