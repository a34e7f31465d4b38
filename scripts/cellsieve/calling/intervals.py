"""Confidence intervals of rates."""

import math

Z95 = 1.959963984540054  # of the normal distribution, two-sided 95 %


def wilson(count: int, total: int) -> tuple[float, float] | None:
    """95 % interval of a rate by Wilson's score method.

    Parameters
    ----------
    count, total : int
        Successes and independent trials.

    Returns
    -------
    tuple of float or None
        Lower and upper end; None without trials.

    References
    ----------
    Wilson, J. Am. Stat. Assoc. 22:209 (1927).
    """
    if total == 0:
        return None
    rate = count / total
    squared = Z95**2 / total
    centre = (rate + squared / 2) / (1 + squared)
    half = Z95 / (1 + squared) * math.sqrt(rate * (1 - rate) / total + squared / (4 * total))
    # the ends are exact where rounding would leave a trace beyond them
    low = 0.0 if count == 0 else centre - half
    high = 1.0 if count == total else centre + half
    return low, high


def rate(count: int, total: int) -> dict[str, float | None]:
    """Return a rate with its interval under the keys ``rate``, ``low`` and ``high``."""
    ends = wilson(count, total) or (None, None)
    return {"rate": count / total if total else None, "low": ends[0], "high": ends[1]}
