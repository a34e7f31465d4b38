"""Mean-shifted contrastive losses: normal pictures differ by direction from a centre."""

import torch
import torch.nn.functional as F
from torch import Tensor

TEMPERATURE = 0.25


def directions(z: Tensor, centre: Tensor) -> Tensor:
    """Directions from the centre, unit vectors; 0 for what lies in it.

    Parameters
    ----------
    z : Tensor, (..., d)
        Unit vectors.
    centre : Tensor, (d,)

    References
    ----------
    Reiss & Hoshen, Mean-Shifted Contrastive Loss, arXiv 2106.03844, eq. 5.
    """
    return F.normalize(z - centre, dim=-1)


def mean_shifted_loss(theta: Tensor) -> Tensor:
    """Contrast the views of each picture with all other views of the batch.

    Parameters
    ----------
    theta : Tensor, (v, b, d)
        Directions of v views of b pictures.

    Returns
    -------
    Tensor, ()
        With two views the loss of MSC (Reiss & Hoshen, eq. 6), with three that of
        TMSCL (Fan, Shangguan & Chen, IJMLC 14:3413, 2023). Positives in a circle, as there, and
        all pairs, as here, are the same sum. Other positives of a picture stay in
        the denominator.
    """
    count = len(theta)
    similarity = _similarity(theta)
    positive = _same_picture(theta)
    others = torch.logsumexp(similarity, 1)
    pairs = torch.where(positive, similarity, 0).sum(1) / (count - 1)
    return (others - pairs).mean()


def exclusive_loss(theta: Tensor) -> Tensor:
    """Contrast each positive with the other pictures alone.

    Like `mean_shifted_loss`, but the other positives of a picture are not in the
    denominator, so that equal views of far pictures cost next to nothing.
    """
    similarity = _similarity(theta)
    positive = _same_picture(theta)
    strangers = torch.logsumexp(similarity.masked_fill(positive, -torch.inf), 1, keepdim=True)
    each = torch.logaddexp(similarity, strangers) - similarity
    return each[positive].mean()


def compactness(z: Tensor, centre: Tensor) -> Tensor:
    """Sum over the views of the mean squared distance to the centre.

    Parameters
    ----------
    z : Tensor, (v, b, d)
    centre : Tensor, (d,)

    References
    ----------
    The angular loss of Reiss & Hoshen; always on in TMSCL.
    """
    return ((z - centre) ** 2).sum(-1).mean(1).sum()


def effective_rank(z: Tensor) -> float:
    """Effective number of dimensions that vectors fill.

    Parameters
    ----------
    z : Tensor, (n, d)

    Returns
    -------
    float
        Exponential of the entropy of the normalised singular values (Roy &
        Vetterli, EUSIPCO 2007); 1 when all vectors are the same or on a line.
    """
    values = torch.linalg.svdvals((z - z.mean(0)).float())
    share = values / values.sum().clamp(min=1e-12)
    return float(torch.exp(-(share * share.clamp(min=1e-12).log()).sum()).clamp(min=1))


def _similarity(theta: Tensor) -> Tensor:
    """Similarities of all views, (v b, v b); of each with itself -inf."""
    rows = theta.flatten(0, 1)
    similarity = rows @ rows.T / TEMPERATURE
    return similarity.masked_fill(torch.eye(len(rows), dtype=bool, device=rows.device), -torch.inf)


def _same_picture(theta: Tensor) -> Tensor:
    """Whether two views, not the same one, are of one picture, (v b, v b) bool."""
    views, pictures = theta.shape[:2]
    picture = torch.arange(pictures, device=theta.device).repeat(views)
    alone = torch.eye(len(picture), dtype=bool, device=theta.device)
    return (picture[:, None] == picture) & ~alone
