"""Where signal begins among the candidate spots of a slide and probe.

The candidates inside nuclei are a mixture. Noise maxima thin out fast above
the detection limit; hybridised loci make a hump of similar contrast. On the
logarithm of contrast the first is well described by an exponential, the second
by a normal distribution, so the two are fitted by expectation-maximisation and
the threshold is where a candidate is as likely noise as signal.

References
----------
Dempster, Laird & Rubin, J. R. Stat. Soc. B 39:1 (1977): the fit. Kittler &
Illingworth, Pattern Recognition 19:41 (1986): the threshold of least error.
"""

import math
from typing import NamedTuple

import numpy as np
from skimage.filters import threshold_otsu

FEWEST_CANDIDATES = 20
ITERATIONS = 500
TOLERANCE = 1e-6
NARROWEST = 0.05  # standard deviation of log contrast: a hump is never one value


class Mixture(NamedTuple):
    """Noise and signal on x = log(contrast / limit), x ≥ 0.

    Attributes
    ----------
    share : float
        Part of the candidates that are signals.
    decay : float
        Mean of x of the noise.
    mean, sd : float
        Of x of the signals.
    """

    share: float
    decay: float
    mean: float
    sd: float


def signal_threshold(contrast: np.ndarray, limit: float) -> float | None:
    """Contrast above which a candidate is more likely signal than noise.

    Parameters
    ----------
    contrast : ndarray, (n,), float
        Of all candidates inside the nuclei of a slide.
    limit : float
        Lowest contrast that was detected.

    Returns
    -------
    float or None
        None when there are fewer than 20 candidates or no contrast at which
        signal prevails.
    """
    if len(contrast) < FEWEST_CANDIDATES:
        return None
    mixture = fit_mixture(np.log(np.maximum(contrast, limit) / limit))
    crossing = _crossing(mixture)
    return None if crossing is None else limit * math.exp(crossing)


def fit_mixture(x: np.ndarray) -> Mixture:
    """Fit an exponential and a normal distribution by expectation-maximisation.

    Parameters
    ----------
    x : ndarray, (n,), float, ≥ 0

    Returns
    -------
    Mixture
        Started from Otsu's split, so the same values give the same fit.
    """
    signal = (x > threshold_otsu(x)).astype(np.float64) if np.ptp(x) > 0 else np.ones(len(x))
    mixture = _maximise(x, signal)
    for _ in range(ITERATIONS):
        previous = mixture
        mixture = _maximise(x, _expect(x, mixture))
        if np.allclose(mixture, previous, rtol=0, atol=TOLERANCE):
            break
    return mixture


def _maximise(x: np.ndarray, signal: np.ndarray) -> Mixture:
    noise = 1 - signal
    total = max(float(signal.sum()), 1e-9)
    mean = float(signal @ x) / total
    sd = math.sqrt(float(signal @ (x - mean) ** 2) / total)
    decay = float(noise @ x) / max(float(noise.sum()), 1e-9)
    return Mixture(total / len(x), max(decay, NARROWEST), mean, max(sd, NARROWEST))


def _expect(x: np.ndarray, m: Mixture) -> np.ndarray:
    """Probability of each candidate to be a signal."""
    a, b, c = _log_odds(m)
    return 1 / (1 + np.exp(-np.clip(a * x**2 + b * x + c, -500, 500)))


def _log_odds(m: Mixture) -> tuple[float, float, float]:
    """Coefficients in x of log(signal density / noise density), a parabola."""
    share = min(max(m.share, 1e-9), 1 - 1e-9)
    weights = math.log(share / (1 - share)) + math.log(m.decay / m.sd) - math.log(2 * math.pi) / 2
    a = -1 / (2 * m.sd**2)
    b = m.mean / m.sd**2 + 1 / m.decay
    c = -(m.mean**2) / (2 * m.sd**2) + weights
    return a, b, c


def _crossing(m: Mixture) -> float | None:
    """Least x ≥ 0 from which signal prevails."""
    a, b, c = _log_odds(m)
    discriminant = b**2 - 4 * a * c
    if discriminant <= 0:
        return None
    return max((-b + math.sqrt(discriminant)) / (2 * a), 0.0)
