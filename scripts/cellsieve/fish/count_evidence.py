"""How well each number of signals explains the candidate spots of a nucleus.

A nucleus shows the signals of its loci and, anywhere in it, spots that are
none. The latter follow a Poisson process with two parts: maxima of the noise,
which thin out fast above the detection limit, and stray spots of probe, which
are as frequent in a nucleus as outside all nuclei. With k signals of density f
among spots of intensity v the likelihood of the spots x is, but for what does
not depend on k, k! times the k-th elementary symmetric polynomial of all
f(x) / v(x): the sum over all choices of k spots. So every number of signals
can be judged without deciding spot by spot.

On the logarithm of contrast, signals are normal and noise is exponential;
both are fitted to the nuclei of a slide by expectation-maximisation.

References
----------
Dempster, Laird & Rubin, J. R. Stat. Soc. B 39:1 (1977): the fit. Daley &
Vere-Jones, An Introduction to the Theory of Point Processes I, 2nd ed.
(Springer, 2003), section 5.3: the likelihood of a finite point process.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.ndimage import gaussian_filter1d
from scipy.special import gammaln
from scipy.stats import norm

from cellsieve.fish.spot_threshold import NARROWEST, fit_mixture

MOST_SIGNALS = 8
COUNTS = np.arange(MOST_SIGNALS + 1)
_MOST_SPOTS = 24  # of a nucleus and probe, the strongest; a clump has more
_MOST_NUCLEI = 2000  # to fit to, taken evenly; more change nothing
_ITERATIONS = 100
_TOLERANCE = 1e-4
_PER_COUNT = 0.3  # nuclei that every count is thought to have before any is seen
_BANDWIDTH = 0.25  # of the logarithm of a stray spot's height
_BIN = 0.02
_FARTHEST = 20.0  # log ratio that decides a spot alone


class Strays(NamedTuple):
    """How many stray spots there are a pixel, by the logarithm of their height.

    Attributes
    ----------
    log_height, density : ndarray, (m,), float64
        Density a pixel and unit of log height at each of the ascending places.
    """

    log_height: np.ndarray
    density: np.ndarray

    def at(self, log_height: np.ndarray) -> np.ndarray:
        """Density at given places; none above the highest that was seen."""
        return np.interp(log_height, self.log_height, self.density, right=0.0)


class SpotModel(NamedTuple):
    """Densities of signals and noise on x = log(contrast / limit), for one slide and probe.

    Attributes
    ----------
    limit : float
        Lowest contrast that was detected.
    mean, sd : float
        Of x of the signals.
    decay : float
        Mean of x of the noise.
    density : float
        Noise spots a pixel of nucleus.
    strays : Strays
    """

    limit: float
    mean: float
    sd: float
    decay: float
    density: float
    strays: Strays


def count_strays(heights: np.ndarray, area_px: float) -> Strays:
    """Density of the spots outside all nuclei.

    Parameters
    ----------
    heights : ndarray, (n,), float
        Of the candidates outside, in camera counts.
    area_px : float
        Pixels outside all nuclei.
    """
    if not len(heights) or area_px <= 0:
        return Strays(np.zeros(1), np.zeros(1))
    x = np.log(heights)
    edges = np.arange(x.min() - 4 * _BANDWIDTH, x.max() + 4 * _BANDWIDTH + _BIN, _BIN)
    counted = np.histogram(x, edges)[0] / (_BIN * area_px)
    smooth = gaussian_filter1d(counted, _BANDWIDTH / _BIN, mode="constant")
    return Strays((edges[:-1] + edges[1:]) / 2, smooth)


def fit_spots(found: pd.DataFrame, area_px: np.ndarray, strays: Strays) -> SpotModel:
    """Fit the densities of signals and of noise to the nuclei of a slide.

    Parameters
    ----------
    found : DataFrame
        Candidate loci: ``nucleus`` (0 … n − 1), ``contrast``, ``height``; at least one.
    area_px : ndarray, (n,), float
        Of the nuclei.
    strays : Strays

    Returns
    -------
    SpotModel
    """
    limit = float(found["contrast"].min())
    start = fit_mixture(np.log(found["contrast"].to_numpy() / limit))
    density = (1 - start.share) * len(found) / area_px.sum()
    model = SpotModel(limit, start.mean, start.sd, start.decay, density, strays)
    every = -(-len(area_px) // _MOST_NUCLEI)
    part = found[found["nucleus"] % every == 0]
    area_px = area_px[::every]
    table = _Table(part.assign(nucleus=part["nucleus"] // every), len(area_px), limit)
    prior = np.full(len(COUNTS), 1 / len(COUNTS))
    for _ in range(_ITERATIONS):
        ratio, of_noise = _ratios(table, area_px, model)
        sums = _symmetric(ratio)
        chance = prior * np.exp(gammaln(COUNTS + 1)) * sums
        chance /= chance.sum(axis=1, keepdims=True)
        signal = _shares(ratio, sums, chance)
        noise = table.there * (1 - signal) * of_noise
        fitted = _refit(table, model, signal, noise, area_px)
        previous, prior = prior, chance.sum(axis=0) + _PER_COUNT
        prior /= prior.sum()
        moved = np.abs(np.subtract(fitted[1:5], model[1:5])).max()
        model = fitted
        if max(moved, np.abs(prior - previous).max()) < _TOLERANCE:
            break
    return model


def count_evidence(found: pd.DataFrame, area_px: np.ndarray, model: SpotModel) -> np.ndarray:
    """Likelihood of 0, 1, … 8 signals in each nucleus, as multiples of the greatest.

    Parameters
    ----------
    found, area_px
        As in `fit_spots`; nuclei without a candidate are allowed.
    model : SpotModel

    Returns
    -------
    ndarray, (n, 9), float64
    """
    ratio, _ = _ratios(_Table(found, len(area_px), model.limit), area_px, model)
    likelihood = np.exp(gammaln(COUNTS + 1)) * _symmetric(ratio)
    return likelihood / likelihood.max(axis=1, keepdims=True)


def strength(found: pd.DataFrame, n: int, model: SpotModel) -> np.ndarray:
    """How bright the strongest spot of each nucleus is among the signals of the slide.

    Parameters
    ----------
    found : DataFrame
        As in `fit_spots`.
    n : int
        Number of nuclei.
    model : SpotModel

    Returns
    -------
    ndarray, (n,), float64
        In standard deviations from the mean of the logarithm of contrast; a
        nucleus without spots has one at the limit.
    """
    contrast = np.full(n, model.limit)
    np.maximum.at(contrast, found["nucleus"].to_numpy(), found["contrast"].to_numpy())
    return (np.log(contrast / model.limit) - model.mean) / model.sd


class _Table:
    """Spots as one row a nucleus, the strongest first.

    Attributes
    ----------
    x, log_height : ndarray, (n, m), float64
    there : ndarray, (n, m), bool
        Where the row has a spot.
    """

    def __init__(self, found: pd.DataFrame, n: int, limit: float):
        ordered = found.sort_values(["nucleus", "contrast"], ascending=[True, False])
        rank = ordered.groupby("nucleus").cumcount().to_numpy()
        ordered, rank = ordered[rank < _MOST_SPOTS], rank[rank < _MOST_SPOTS]
        place = ordered["nucleus"].to_numpy(), rank
        shape = n, int(rank.max(initial=0)) + 1
        self.x, self.log_height = np.zeros(shape), np.zeros(shape)
        self.there = np.zeros(shape, bool)
        self.x[place] = np.log(np.maximum(ordered["contrast"].to_numpy() / limit, 1.0))
        self.log_height[place] = np.log(ordered["height"].to_numpy())
        self.there[place] = True


def _ratios(table: _Table, area_px: np.ndarray, m: SpotModel) -> tuple[np.ndarray, np.ndarray]:
    """Signal density over background at each spot, 0 where there is none; share of noise."""
    # a spot beyond the place of the best odds is no worse a signal for being brighter
    x = np.minimum(table.x, m.mean + m.sd**2 / m.decay)
    noise = m.density * np.exp(-x / m.decay) / m.decay
    background = (noise + m.strays.at(table.log_height)) * area_px[:, None]
    log_ratio = norm.logpdf(x, m.mean, m.sd) - np.log(background)
    ratio = np.exp(np.clip(log_ratio, -_FARTHEST, _FARTHEST)) * table.there
    return ratio, noise * area_px[:, None] / background


def _symmetric(ratio: np.ndarray) -> np.ndarray:
    """Elementary symmetric polynomials of each row, of degrees 0 to 8."""
    sums = np.zeros((len(ratio), len(COUNTS)))
    sums[:, 0] = 1
    for column in ratio.T:
        sums[:, 1:] += column[:, None] * sums[:, :-1]
    return sums


def _shares(ratio: np.ndarray, sums: np.ndarray, chance: np.ndarray) -> np.ndarray:
    """Probability of each spot to be a signal."""
    shares = np.zeros_like(ratio)
    for spot, column in enumerate(ratio.T):
        rest = _symmetric(np.delete(ratio, spot, axis=1))[:, :-1]
        chosen = np.divide(
            column[:, None] * rest, sums[:, 1:], out=np.zeros_like(rest), where=sums[:, 1:] > 0
        )
        shares[:, spot] = (chance[:, 1:] * chosen).sum(axis=1)
    return shares


def _refit(
    table: _Table, old: SpotModel, signal: np.ndarray, noise: np.ndarray, area_px: np.ndarray
) -> SpotModel:
    """Moments of the spots, weighted by what they are likely to be."""
    signals, noises = max(signal.sum(), 1e-9), max(noise.sum(), 1e-9)
    mean = float((signal * table.x).sum() / signals)
    sd = float(np.sqrt((signal * (table.x - mean) ** 2).sum() / signals))
    decay = float((noise * table.x).sum() / noises)
    density = max(noises, 0.5) / area_px.sum()
    return old._replace(
        mean=mean, sd=max(sd, NARROWEST), decay=max(decay, NARROWEST), density=density
    )
