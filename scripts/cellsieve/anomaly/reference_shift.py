"""Whether a field is like the reference in scale and stain: only then do p-values hold."""

import pandas as pd

LARGEST_RATIO = 1.4  # of the diameters, or its inverse
LARGEST_SHIFT = 3.0  # robust standard deviations of the reference nuclei
FEWEST = 20  # nuclei; the median of fewer may lie off by chance or for an abnormal few
_MAD_TO_SD = 1.4826


def scale_shift(ratio: float) -> list[str]:
    """Say how a field's typical diameter is unlike the reference's, if it is.

    Parameters
    ----------
    ratio : float
        Diameter of the field over that of the reference, in one scale.

    Returns
    -------
    list of str
        Empty within a factor of 1.4.
    """
    if 1 / LARGEST_RATIO <= ratio <= LARGEST_RATIO:
        return []
    return [f"unusual diameter: {ratio:.2f} times the reference's"]


def stain_shift(nuclei: pd.DataFrame, reference: pd.DataFrame) -> list[str]:
    """Say in which feature a field's nuclei are most unlike the reference, if they are.

    Medians are compared, which abnormal nuclei hardly move where they are few.

    Parameters
    ----------
    nuclei, reference : DataFrame
        Columns ``f_*``; whole nuclei of one field, and of the reference.

    Returns
    -------
    list of str
        Empty while no median lies more than three robust standard deviations of
        the reference's nuclei off its median, and of fewer than 20 nuclei.
    """
    if min(len(nuclei), len(reference)) < FEWEST:
        return []
    columns = [name for name in reference.columns if name.startswith("f_")]
    middle = reference[columns].median()
    spread = _MAD_TO_SD * (reference[columns] - middle).abs().median()
    # what does not vary has no scale to measure a shift by
    shift = ((nuclei[columns].median() - middle) / spread)[spread > 0]
    if shift.empty or shift.abs().max() <= LARGEST_SHIFT:
        return []
    worst = shift.abs().idxmax()
    name = worst.removeprefix("f_").replace("_", " ")
    return [f"unusual {name}: {shift[worst]:+.1f} robust SD from the reference's median"]
