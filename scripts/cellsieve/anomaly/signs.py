"""Tell normal nuclei from copies with exaggerated signs of malignancy; none is abnormal."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

FOLDS = 5  # classifiers; each has not seen one in five of the nuclei of the bank
_SHARE = 0.7  # chance that a sign is exaggerated
_MORE = 1.5  # by how much on average, in standard deviations of normal nuclei
_FAR = 0.1  # of the copies are moved far, in any direction: nothing out there is normal
_DISTANCE = (6.0, 20.0)  # how far, in standard deviations
_CAUSED = 0.5  # of the copies have one sign that raises others as much, see `fit_signs`,
_BESIDE = 0.2  # and any other with this chance
_COPIES = 10  # exaggerated nuclei to a normal one
_MOST = 4000  # normal nuclei that a classifier learns from: more add nothing but time
_PENALTY = 0.1  # C of the logistic regression
# standard deviations that are told apart: to have ever less of a sign is no evidence
_LOWEST, _HIGHEST = -2.0, 12.0


class Signs(NamedTuple):
    """Classifiers of normal and exaggerated nuclei.

    Attributes
    ----------
    middle, scale : ndarray, (features,)
        Median and standard deviation of normal nuclei.
    weights : ndarray, (FOLDS, terms)
        Of the standardised features and their products.
    bias : ndarray, (FOLDS,)
    """

    middle: np.ndarray
    scale: np.ndarray
    weights: np.ndarray
    bias: np.ndarray

    def log_odds(self, values: np.ndarray, place: np.ndarray) -> np.ndarray:
        """Return the log odds that nuclei are exaggerated ones, (n,) float64.

        Parameters
        ----------
        values : ndarray, (n, features)
        place : ndarray, (n,), int
            Of a nucleus in the bank; -1 if it is not there. One that is, is judged
            by the classifier that has not seen it, any other by all of them.
        """
        every = _terms(_standardised(values, self.middle, self.scale)) @ self.weights.T + self.bias
        own = every[np.arange(len(every)), place % FOLDS]
        return np.where(place >= 0, own, every.mean(1))


def fit_signs(normal: pd.DataFrame, causes: Mapping[str, Sequence[str]]) -> Signs:
    """Learn to tell exaggerated nuclei from normal ones.

    Each normal nucleus is copied with some of its features raised by exponential
    amounts: larger, darker, coarser. Where features follow from each other, half of the
    copies have one that is raised with what follows from it. A quadratic logistic
    regression tells the copies from the originals. It learns what is rare together among
    normal nuclei, and comes close to the likelihood ratio, where a distance counts all
    features alike.

    Parameters
    ----------
    normal : DataFrame
        A column a feature, each the higher, the more a nucleus has of a sign of malignancy.
    causes : mapping of str to sequence of str
        Features that raise others, and those that they raise.

    References
    ----------
    Detection of anomalies as classification against a reference measure: Steinwart,
    Hush & Scovel, JMLR 6:211, 2005.
    """
    values = normal.to_numpy(float)
    # a feature that does not vary says nothing; it must not divide by zero
    middle, scale = np.median(values, 0), np.maximum(values.std(0), 1e-9)
    standard = _standardised(values, middle, scale)
    raising = {
        normal.columns.get_loc(name): np.array([normal.columns.get_loc(r) for r in raised])
        for name, raised in causes.items()
    }
    fold = np.arange(len(normal)) % FOLDS
    fitted = [_classifier(standard[fold != left_out], raising) for left_out in range(FOLDS)]
    weights, bias = map(np.array, zip(*fitted, strict=True))
    return Signs(middle, scale, weights, bias)


def _classifier(normal: np.ndarray, causes: Mapping[int, np.ndarray]) -> tuple[np.ndarray, float]:
    """Return weights of the terms and bias of one classifier."""
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng(0)
    normal = rng.permutation(normal)[:_MOST]
    raised = _exaggerated(rng, normal, causes)
    terms = _terms(np.concatenate([normal, raised]))
    kind = np.repeat([0, 1], [len(normal), len(raised)])
    spread = np.maximum(terms.std(0), 1e-9)
    model = LogisticRegression(C=_PENALTY, max_iter=1000)
    model.fit(terms / spread, kind, sample_weight=np.where(kind, 1, _COPIES))
    return model.coef_[0] / spread, float(model.intercept_[0])


def _exaggerated(
    rng: np.random.Generator, normal: np.ndarray, causes: Mapping[int, np.ndarray]
) -> np.ndarray:
    """Copy nuclei with at least one of their features raised; move some of the copies far off."""
    copies = np.repeat(normal, _COPIES, 0)
    count, features = copies.shape
    caused = rng.random(count) < _CAUSED * bool(causes)
    leading = rng.integers(0, features, count)
    leading[caused] = rng.choice([*causes], caused.sum()) if causes else leading[caused]
    chosen = rng.random(copies.shape) < np.where(caused, _BESIDE, _SHARE)[:, None]
    chosen[np.arange(count), leading] = True
    moved = chosen * rng.exponential(_MORE, copies.shape)
    for cause, raised in causes.items():
        here = caused & (leading == cause)
        moved[np.ix_(here, raised)] = moved[here, cause][:, None]
    far = rng.random(count) < _FAR
    directions = rng.standard_normal((far.sum(), features))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    moved[far] = directions * rng.uniform(*_DISTANCE, (far.sum(), 1))
    return np.clip(copies + moved, _LOWEST, _HIGHEST)


def _standardised(values: np.ndarray, middle: np.ndarray, scale: np.ndarray) -> np.ndarray:
    return np.clip((values - middle) / scale, _LOWEST, _HIGHEST)


def _terms(values: np.ndarray) -> np.ndarray:
    """Return the features and the products of each two, (n, terms)."""
    first, second = np.triu_indices(values.shape[1])
    return np.concatenate([values, values[:, first] * values[:, second]], 1)
