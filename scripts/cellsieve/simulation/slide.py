"""What the fields of one slide share and what differs between slides."""

from dataclasses import dataclass

import numpy as np

from cellsieve.simulation.draws import generator

CHANNELS = ("DAPI", "Aqua", "Green", "Gold", "Red")
PROBES = CHANNELS[1:]


@dataclass(frozen=True)
class Slide:
    """Stain, optics and camera of one slide.

    Light is counted in photoelectrons, lengths in micrometres. Tuples have
    one value a channel, in the order of `CHANNELS`.

    Attributes
    ----------
    seed : int
        What it was drawn with; also fixes the camera's hot pixels.
    stain : float
        Light of DAPI in the middle of a typical nucleus.
    signal : tuple of float
        Light in the middle of a typical signal of each probe in focus (0 for
        DAPI).
    autofluorescence : tuple of float
        Light of a nucleus in each probe's channel (0 for DAPI).
    background : tuple of float
        Light outside the nuclei.
    bleed : tuple of float
        Share of a channel's light that is also seen in the next one.
    blur_um : float
        Standard deviation of the point-spread function in focus.
    depth_um : float
        Spread of the blur that defocus adds from nucleus to nucleus.
    glare : float
        Share of the DAPI light that is scattered around the nuclei.
    vignetting : float
        Share of the illumination that is missing in the corners.
    offset, read_noise, gain : float
        Camera: counts without light, noise in electrons, counts an electron.
    flatness : float
        Exponent of the nuclear profile: 2 is a ball, 8 a flat disc.
    elongation : float
        Typical ratio of the axes of a nucleus.
    irregularity : float
        Typical roughness of the outline, as a share of the radius.
    contrast : float
        Typical standard deviation of the logarithm of the chromatin density.
    coarseness : float
        Typical size of the chromatin grain, as a share of the diameter.
    """

    seed: int
    stain: float
    signal: tuple[float, ...]
    autofluorescence: tuple[float, ...]
    background: tuple[float, ...]
    bleed: tuple[float, ...]
    blur_um: float
    depth_um: float
    glare: float
    vignetting: float
    offset: float
    read_noise: float
    gain: float
    flatness: float
    elongation: float
    irregularity: float
    contrast: float
    coarseness: float


def draw_slide(seed: int) -> Slide:
    """Draw the properties of a slide.

    Parameters
    ----------
    seed : int
        Not negative; the same seed is the same slide. Single properties can
        be set afterwards with `dataclasses.replace`.
    """
    rng = generator("slide", seed)
    return Slide(
        seed=seed,
        stain=_around(rng, 800, 0.4),
        signal=(0.0, *(_around(rng, typical, 0.2) for typical in (330, 450, 380, 420))),
        autofluorescence=(0.0, *(_around(rng, typical, 0.3) for typical in (55, 40, 28, 18))),
        background=tuple(_around(rng, typical, 0.3) for typical in (45, 60, 45, 35, 25)),
        bleed=tuple(rng.uniform(low, high) for low, high in ((0.01, 0.03), *[(0.03, 0.1)] * 3)),
        blur_um=rng.uniform(0.22, 0.38),
        depth_um=rng.uniform(0.1, 0.3),
        glare=rng.uniform(0.05, 0.15),
        vignetting=rng.uniform(0.1, 0.35),
        offset=100.0,
        read_noise=rng.uniform(2, 6),
        gain=_around(rng, 2.0, 0.1),
        flatness=rng.uniform(2.5, 6.0),
        elongation=rng.uniform(1.15, 1.65),
        irregularity=rng.uniform(0.035, 0.055),
        contrast=rng.uniform(0.12, 0.19),
        coarseness=rng.uniform(0.1, 0.16),
    )


def _around(rng: np.random.Generator, typical: float, spread: float) -> float:
    return float(typical * np.exp(spread * rng.standard_normal()))
