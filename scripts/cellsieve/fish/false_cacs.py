"""How many CACs a sample without any would show, and what is to be said of a patient.

Every count makes mistakes. Their rate is measured where all nuclei are known
to be normal: on the reference fields of the run when they hold enough nuclei,
else on simulated ones. So few mistakes are seen that the rate is uncertain,
and what is said of a patient rests on the upper end of its interval.

References
----------
Garwood, Fiducial limits for the Poisson distribution. Biometrika 28:437
(1936): the upper bound.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from scipy.stats import chi2, poisson

CONFIDENCE = 0.95
FEWEST_NUCLEI = 1000  # of the reference; fewer bound the rate less well than simulated ones
RAREST = 0.01  # chance of as many false CACs


class Rule(NamedTuple):
    """What a CAC is, and in how many probes.

    Attributes
    ----------
    probes : int
    min_gain_probes : int
        Gains that make a CAC.
    split_diameters : float
        Up to which signals count once.
    """

    probes: int
    min_gain_probes: int
    split_diameters: float

    def no_laxer_than(self, other: "Rule") -> bool:
        """Whether the rule finds no more false CACs than another one."""
        return (
            self.probes <= other.probes
            and self.min_gain_probes >= other.min_gain_probes
            and self.split_diameters == other.split_diameters
        )


class ErrorRate(NamedTuple):
    """False CACs among nuclei that are known to be normal.

    Attributes
    ----------
    cac : int
    nuclei : int
        Assessable ones.
    measured_on : {"reference", "simulated"}
    """

    cac: int
    nuclei: int
    measured_on: str

    @property
    def high(self) -> float:
        """One-sided 95 % upper bound of false CACs a nucleus."""
        return upper_bound(self.cac) / self.nuclei


def upper_bound(count: int) -> float:
    """One-sided 95 % upper bound of a Poisson mean, of which ``count`` were seen."""
    return float(chi2.ppf(CONFIDENCE, 2 * (count + 1)) / 2)


def error_rate(
    fields: Sequence[Mapping[str, Any]], simulated: Path, rule: Rule
) -> ErrorRate | None:
    """Return the rate of false CACs that holds for a run, or at least is no lower.

    Parameters
    ----------
    fields : sequence of mapping
        Of the reference fields: ``cac, assessable_cac``.
    simulated : Path
        JSON with ``cac`` and ``nuclei``, counted on simulated normal nuclei, and the
        `Rule` that they were counted by.
    rule : Rule
        Of the run.

    Returns
    -------
    ErrorRate or None
        None where the reference is small and the run's rule is laxer than the one of the
        simulated nuclei.
    """
    nuclei = sum(field["assessable_cac"] for field in fields)
    if nuclei >= FEWEST_NUCLEI:
        return ErrorRate(sum(field["cac"] for field in fields), nuclei, "reference")
    known = json.loads(simulated.read_text(encoding="utf-8"))
    if not rule.no_laxer_than(Rule(**{name: known[name] for name in Rule._fields})):
        return None
    return ErrorRate(known["cac"], known["nuclei"], "simulated")


def expected(assessable: int, errors: ErrorRate | None) -> dict[str, Any]:
    """False CACs to expect among so many nuclei, and the upper end of that; None if unknown."""
    if errors is None:
        columns = ("false_cac_expected", "false_cac_expected_high", "false_cac_measured_on")
        return dict.fromkeys(columns)
    return {
        "false_cac_expected": assessable * errors.cac / errors.nuclei,
        "false_cac_expected_high": assessable * errors.high,
        "false_cac_measured_on": errors.measured_on,
    }


def flag(
    cac: int, assessable: int, errors: ErrorRate | None, min_cac: int, min_assessable: int
) -> dict[str, Any]:
    """What is to be said of a patient; for research, not for diagnosis.

    Parameters
    ----------
    cac, assessable : int
        CACs, and nuclei whose signals could be assessed.
    errors : ErrorRate or None
        Without it no patient is ``aberrant``.
    min_cac : int
        CACs without which a patient is never ``aberrant``.
    min_assessable : int
        Nuclei without which a patient never has ``none found``.

    Returns
    -------
    dict
        ``cac_p``, the chance of as many false CACs at the upper bound of their
        rate (None if unknown), and ``flag``: ``aberrant`` when there are enough and that chance
        is below 0.01, ``none found`` when there are not enough among enough
        nuclei, else ``inconclusive``.
    """
    chance = errors and float(poisson.sf(cac - 1, assessable * errors.high))
    if cac >= min_cac and errors and chance < RAREST:
        said = "aberrant"
    elif cac < min_cac and assessable >= min_assessable:
        said = "none found"
    else:
        said = "inconclusive"
    return {"cac_p": chance, "flag": said}
