"""Mean-shifted contrastive losses: constants worked out by hand, and what they reward."""

import math

import pytest
import torch
import torch.nn.functional as F

from cellsieve.anomaly_networks.contrastive import (
    compactness,
    directions,
    effective_rank,
    exclusive_loss,
    mean_shifted_loss,
)


def orthonormal(pictures, views):
    """The same direction in every view, another one for each picture."""
    return torch.eye(pictures, 8).repeat(views, 1, 1)


@pytest.mark.parametrize(
    ("loss", "pictures", "views", "expected"),
    [
        (mean_shifted_loss, 1, 2, 0.0),
        (mean_shifted_loss, 2, 2, math.log(1 + 2 * math.exp(-4))),
        # the third equal view is in the denominator
        (mean_shifted_loss, 1, 3, math.log(2)),
        (mean_shifted_loss, 2, 3, math.log(2 + 3 * math.exp(-4))),
        (exclusive_loss, 1, 3, 0.0),
        (exclusive_loss, 2, 3, math.log(1 + 3 * math.exp(-4))),
    ],
)
def test_constants(loss, pictures, views, expected):
    assert float(loss(orthonormal(pictures, views))) == pytest.approx(expected, abs=1e-6)


def test_positives_in_a_circle_and_all_pairs_are_the_same():
    """The published code pairs view 1 with 2, 2 with 3 and 3 with 1."""
    torch.manual_seed(0)
    theta = F.normalize(torch.randn(3, 5, 7), dim=-1).requires_grad_()
    rows = theta.flatten(0, 1)
    similar = torch.exp(rows @ rows.T / 0.25)
    denominator = (similar - torch.diag(torch.diag(similar))).sum(1)
    circle = torch.cat([(theta[v] * theta[(v + 1) % 3]).sum(1) for v in range(3)])
    by_hand = -(circle / 0.25 - denominator.log()).mean()
    ours = mean_shifted_loss(theta)
    assert ours.item() == pytest.approx(by_hand.item(), rel=1e-5)
    gradients = [torch.autograd.grad(loss, theta, retain_graph=True)[0] for loss in (ours, by_hand)]
    assert torch.allclose(*gradients, atol=1e-6)


def test_what_lies_in_the_centre_has_no_direction_and_no_gradient():
    centre = F.normalize(torch.ones(8), dim=0)
    z = centre.expand(3, 2, 8).clone().requires_grad_()
    loss = mean_shifted_loss(directions(z, centre))
    loss.backward()
    assert loss.item() == pytest.approx(math.log(5))  # of 3b - 1 others none is nearer
    assert torch.equal(z.grad, torch.zeros_like(z))
    assert compactness(z, centre).item() == pytest.approx(0, abs=1e-12)


def test_compactness_by_hand():
    """Two views of one picture at squared distances 2 and 4 from the centre."""
    z = torch.tensor([[[0.0, 1.0]], [[-1.0, 0.0]]])
    assert compactness(z, torch.tensor([1.0, 0.0])).item() == pytest.approx(6)


def test_effective_rank_by_hand():
    assert effective_rank(torch.ones(9, 4)) == 1
    line = torch.arange(9.0)[:, None] * torch.tensor([1.0, 2.0, 3.0])
    assert effective_rank(line) == pytest.approx(1, abs=1e-3)
    cross = torch.cat([torch.eye(3), -torch.eye(3)])
    assert effective_rank(cross) == pytest.approx(3, rel=1e-5)
