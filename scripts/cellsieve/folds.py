"""Fields divided into folds: each is measured with a model that has not seen it."""

from collections.abc import Sequence


def fold_of(fields: Sequence[str], folds: int) -> dict[str, int]:
    """Say in which fold each field is.

    Parameters
    ----------
    fields : sequence of str
        The fields with a truth, in the order of the manifest.
    folds : int
        At least 1.

    Returns
    -------
    dict of str to int
        Field to fold, 0 to ``folds`` - 1. Neighbours in the sheet, which are often of
        one slide, are dealt to different folds, whose sizes differ by one at most.
    """
    return {field: position % folds for position, field in enumerate(fields)}
