"""Tell whether a mask outlines one nucleus, and if not, why not.

Each check compares one measure with two limits. What keeps the *strict* one is
trusted; what breaks the *lenient* one is refused whatever else speaks for it;
between them lies doubt. All limits are pure numbers: relative to the typical
nucleus, to the nucleus' own contrast, or shares.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd

DOUBTFUL = 0.5  # of the way from lenient to strict; below that nothing is accepted


class Check(NamedTuple):
    """One thing that must be true of a mask that outlines a single nucleus.

    Attributes
    ----------
    measure : str
        Column that is compared.
    strict, lenient : float
        Limits; the measure must be at least them when ``strict`` is the
        greater, at most them when it is the smaller.
    complaint : str
        What a person reads when the check fails.
    """

    measure: str
    strict: float
    lenient: float
    complaint: str

    @property
    def limit(self) -> str:
        """The strict limit in words."""
        return f"{'at least' if self.strict > self.lenient else 'at most'} {self.strict:g}"


CHECKS = (
    Check("relative_area", 0.25, 0.12, "small: area in typical areas"),
    Check("relative_area", 3.0, 4.0, "large: area in typical areas"),
    Check("fill", 0.92, 0.85, "ragged: share of its ellipse"),
    Check("misfit", 0.06, 0.12, "no single ellipse: area beside it in typical areas"),
    Check("width_to_length", 0.33, 0.2, "narrow: width to length"),
    Check("shape_neck", 0.06, 0.15, "necked outline: depth of the neck"),
    Check("intensity_neck", 0.1, 0.2, "two bright lobes: depth of the saddle between them"),
    Check("shared_outline", 0.25, 0.5, "crowded: share of the outline against others"),
    Check("contrast", 0.6, 0.4, "in glare or haze: contrast to its surroundings"),
    Check("contrast_to_noise", 8.0, 4.0, "dim: contrast to noise"),
    Check("outline_fit", 0.75, 0.6, "outline off the edge: IoU with the half-intensity region"),
    Check("edge_stability", 0.66, 0.54, "blurred edge: area at 65 % over area at 35 %"),
    Check("agreement", 0.6, 0.4, "coarse outline differs: IoU"),
    Check("predicted_iou", 0.8, 0.6, "the model is unsure: predicted IoU"),
    Check("stability", 0.85, 0.7, "the model's outline is unstable: stability"),
)


def quality(measures: pd.DataFrame) -> np.ndarray:
    """Return how well each mask passes its weakest check.

    Parameters
    ----------
    measures : DataFrame
        One column a measure; a missing value (a mask that no model made has no
        predicted IoU) is not held against a mask.

    Returns
    -------
    ndarray, (n,), float64
        At least 1 when every strict limit is kept, below 0 when a lenient one is
        broken; linear between them and capped at 2.
    """
    return np.clip(_margins(measures).min(axis=1), -1.0, 2.0)


def complaints(measures: pd.DataFrame) -> list[str]:
    """Return for each mask the strict limits that it breaks, joined by ``;``.

    Parameters
    ----------
    measures : DataFrame
        As in `quality`.
    """
    broken = _margins(measures) < 1
    values = [measures[check.measure].to_numpy(float) for check in CHECKS]
    return [
        "; ".join(
            f"{check.complaint} {value[row]:.2g}, {check.limit}"
            for check, value, failed in zip(CHECKS, values, broken[row], strict=True)
            if failed
        )
        for row in range(len(measures))
    ]


def _margins(measures: pd.DataFrame) -> np.ndarray:
    """(n, checks): 0 at the lenient limit, 1 at the strict one, inf where not measured."""
    columns = [
        (measures[check.measure].to_numpy(float) - check.lenient) / (check.strict - check.lenient)
        for check in CHECKS
    ]
    margins = np.stack(columns, axis=1)
    return np.where(np.isnan(margins), np.inf, margins)
