"""The nuclei of a field before any is drawn: what each one is like."""

import numpy as np
import pandas as pd

from cellsieve.simulation.slide import PROBES, Slide

# share of the normal nuclei in each state; the rest is G1
STATES = {"S": 0.08, "G2": 0.10, "condensed": 0.02, "mitotic": 0.01}


def draw_population(
    rng: np.random.Generator, n: int, abnormal: float, slide: Slide, diameter_um: float
) -> pd.DataFrame:
    """Draw the properties of the nuclei of a field.

    Abnormal nuclei are shifted in every property, but each by its own share
    of a shift that is of the order of the spread among normal ones, so that
    no single property tells them apart.

    Parameters
    ----------
    rng : Generator
    n : int
        Number of nuclei.
    abnormal : float
        Probability that a nucleus is abnormal, 0 to 1.
    slide : Slide
    diameter_um : float
        Diameter of a typical normal nucleus.

    Returns
    -------
    DataFrame
        One row a nucleus: ``abnormal`` (bool), ``state``, ``radius_um`` (of
        the disc with the same area, about), ``elongation`` (ratio of the
        axes), ``irregularity``, ``contrast``, ``coarseness``, ``density``
        (light in its middle in photoelectrons), ``defocus_um`` (blur beyond
        the slide's) and the number of signals of each probe, named like it
        in small letters.
    """
    sick = rng.random(n) < abnormal
    state = _states(rng, sick)
    severity = rng.beta(4.0, 1.5, (n, 1))
    shift = sick[:, None] * severity * rng.beta(2.0, 1.0, (n, 6))  # of each property
    spread = rng.standard_normal((n, 6))
    dna = _dna(rng, state) * np.exp(1.2 * shift[:, 0])
    radius = 0.5 * diameter_um * dna**0.2 * np.exp(0.1 * spread[:, 0] + 0.2 * shift[:, 1])
    cells = pd.DataFrame(
        {
            "abnormal": sick,
            "state": state,
            "radius_um": radius,
            "elongation": 1
            + (slide.elongation - 1) * rng.gamma(4, 0.25, n) * (1 + 2.0 * shift[:, 2]),
            "irregularity": slide.irregularity * np.exp(0.35 * spread[:, 1] + 1.7 * shift[:, 3]),
            "contrast": slide.contrast * np.exp(0.2 * spread[:, 2] + 1.3 * shift[:, 4]),
            "coarseness": slide.coarseness * np.exp(0.15 * spread[:, 3] + 1.0 * shift[:, 5]),
            "density": slide.stain * dna**0.75 * (0.5 * diameter_um / radius) ** 1.3,
            "defocus_um": slide.depth_um
            * np.abs(spread[:, 4])
            * rng.choice([1, 3], n, p=[0.94, 0.06]),
        }
    )
    cells["density"] *= np.exp(0.15 * spread[:, 5]) * rng.choice(
        [0.4, 1.0, 1.8], n, p=[0.03, 0.94, 0.03]
    )
    _condense(cells)
    # beyond these, outlines look torn and chromatin spotted
    cells["irregularity"] = cells["irregularity"].clip(upper=0.15)
    cells["contrast"] = cells["contrast"].clip(upper=0.45)
    return pd.concat([cells, _signal_counts(rng, sick)], axis=1)


def _states(rng: np.random.Generator, sick: np.ndarray) -> np.ndarray:
    names = ["G1", *STATES]
    shares = [1 - sum(STATES.values()), *STATES.values()]
    drawn = rng.choice(names, len(sick), p=shares)
    return np.where(sick & np.isin(drawn, ["condensed", "mitotic"]), "G1", drawn)


def _dna(rng: np.random.Generator, state: np.ndarray) -> np.ndarray:
    """DNA content relative to G1."""
    dna = np.ones(len(state))
    synthesis = state == "S"
    dna[synthesis] = rng.uniform(1, 2, synthesis.sum())
    dna[np.isin(state, ["G2", "mitotic"])] = 2.0
    return dna


def _condense(cells: pd.DataFrame) -> None:
    """Shrink, brighten and smooth what is condensed; make rods of mitoses."""
    condensed, mitotic = cells["state"] == "condensed", cells["state"] == "mitotic"
    cells.loc[condensed, "radius_um"] *= 0.65
    cells.loc[condensed, "density"] *= 2.2
    cells.loc[condensed, "contrast"] *= 0.5
    cells.loc[mitotic, "radius_um"] *= 0.6
    cells.loc[mitotic, "density"] *= 2.2
    cells.loc[mitotic, "elongation"] += 1.0
    cells.loc[mitotic, "irregularity"] *= 2.0


def _signal_counts(rng: np.random.Generator, sick: np.ndarray) -> pd.DataFrame:
    """Two signals a probe; two to four probes of an abnormal nucleus differ."""
    counts = np.full((len(sick), len(PROBES)), 2)
    changed = rng.permuted(np.tile(np.arange(len(PROBES)), (len(sick), 1)), axis=1)
    changed = changed < rng.choice([2, 3, 4], (len(sick), 1), p=[0.45, 0.35, 0.2])
    other = rng.choice([0, 1, 3, 4, 5], counts.shape, p=[0.02, 0.22, 0.46, 0.22, 0.08])
    counts = np.where(sick[:, None] & changed, other, counts)
    return pd.DataFrame(counts, columns=[probe.lower() for probe in PROBES])
