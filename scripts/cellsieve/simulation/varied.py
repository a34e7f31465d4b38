"""Scenes far more varied than any one laboratory's, to train networks on."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy import ndimage

from cellsieve.simulation.layout import place
from cellsieve.simulation.nucleus import draw_nucleus, reach
from cellsieve.simulation.optics import add_spot, blur
from cellsieve.simulation.stray_light import cytoplasm, debris, fibres, ghosts, haze


class VariedScene(NamedTuple):
    """What a camera would see, before it adds noise.

    Attributes
    ----------
    light : ndarray, (s, s), float32
        A typical nucleus is about 1, the empty slide 0.
    labels : ndarray, (s, s), int32
        0 = background.
    diameter : float
        Of a typical nucleus in pixels.
    """

    light: np.ndarray
    labels: np.ndarray
    diameter: float


@dataclass(frozen=True)
class Style:
    """What the nuclei of one scene share; standard deviations are of logarithms.

    Attributes
    ----------
    coverage : float
        Share of the scene that nuclei would cover if none overlapped.
    size_spread, light_spread : float
        Of the nuclei's diameter and brightness.
    elongation, irregularity, contrast, coarseness, flatness : float
        As `draw_nucleus` takes them.
    lobed : float
        Share of the nuclei whose outline has deep lobes.
    softness : float
        Exponent of the profile: above 1, nuclei fade towards their outline.
    micronuclei : float
        Mean number of tiny nuclei to a nucleus.
    chromocentres : float
        Mean number of bright grains a nucleus, as in mouse cells.
    pressed : float
        Probability that nuclei that meet flatten each other; others overlap.
    seam : float
        Share of a diameter that a dark line between flattened neighbours would have; below
        a pixel it is now and then one pixel wide.
    blur, defocus : float
        Standard deviations of the common blur and of each nucleus' own, in diameters.
    cytoplasm : float
        Brightness around nuclei.
    glare : float
        Brightest debris, in typical nuclei; 0 for a clean slide.
    fibres : float
        Mean number of threads and flakes to a scene, as bright as nuclei; 0 for a clean slide.
    ghosts : float
        Mean number of nuclei far out of focus, beside one, to the square of a diameter; 0 for
        none at all.
    halo, halo_reach : float
        Share of the light that thick samples scatter, and how far, in diameters.
    haze : float
        Brightness of the light from out of focus.
    """

    coverage: float
    size_spread: float
    light_spread: float
    elongation: float
    irregularity: float
    lobed: float
    contrast: float
    coarseness: float
    flatness: float
    softness: float
    micronuclei: float
    chromocentres: float
    pressed: float
    seam: float
    blur: float
    defocus: float
    cytoplasm: float
    glare: float
    fibres: float
    ghosts: float
    halo: float
    halo_reach: float
    haze: float


def draw_style(rng: np.random.Generator) -> Style:
    """Draw the style of a scene from ranges wider than real slides have."""
    return Style(
        coverage=_between(rng, 0.03, 0.75),
        size_spread=rng.uniform(0.05, 0.35),
        light_spread=rng.choice([0.15, 0.35, 0.8], p=[0.4, 0.4, 0.2]),
        elongation=_between(rng, 1.05, rng.choice([2.0, 3.2], p=[0.8, 0.2])),
        irregularity=_between(rng, 0.012, 0.1),
        lobed=rng.choice([0.0, rng.uniform(0, 0.5)]),
        contrast=_between(rng, 0.03, 0.4),
        coarseness=_between(rng, 0.06, 0.3),
        flatness=_between(rng, 1.8, 9.0),
        softness=rng.choice([1.0, _between(rng, 1.0, 3.0)]),
        micronuclei=rng.choice([0.0, 0.0, 0.0, rng.uniform(0, 0.5)]),
        chromocentres=rng.choice([0, 0, 0, rng.uniform(2, 20)]),
        pressed=rng.choice([0.0, 0.5, 1.0]),
        seam=rng.choice([0.0, rng.uniform(0.01, 0.08)], p=[0.2, 0.8]),
        blur=_between(rng, 0.008, 0.12),
        defocus=rng.choice([0.0, rng.uniform(0, 0.08)]),
        cytoplasm=rng.choice([0.0, 0.0, rng.uniform(0.02, 0.3)]),
        glare=rng.choice([0.0, 0.0, _between(rng, 1, 40)]),
        fibres=rng.choice([0.0, 2.0], p=[0.75, 0.25]),
        ghosts=rng.choice([0.0, 0.06], p=[0.7, 0.3]),
        halo=rng.choice([0.0, rng.uniform(0.1, 0.5)], p=[0.6, 0.4]),
        halo_reach=rng.uniform(0.3, 1.0),
        haze=rng.choice([0.0, rng.uniform(0, 0.3)]),
    )


def _between(rng: np.random.Generator, low: float, high: float) -> float:
    """Draw uniformly on a logarithmic scale."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def draw_scene(rng: np.random.Generator, diameter: float, side: int) -> VariedScene:
    """Draw nuclei, their surroundings and debris.

    Parameters
    ----------
    rng : Generator
    diameter : float
        Of a typical nucleus in pixels.
    side : int
        Of the scene in pixels.

    Returns
    -------
    VariedScene
    """
    style = draw_style(rng)
    typical = 0.5 * diameter
    wanted = int(style.coverage * side**2 / (np.pi * typical**2)) + 1
    radii = typical * np.exp(style.size_spread * rng.standard_normal(min(wanted, 400)))
    radii = np.clip(radii, 0.35 * typical, 2.5 * typical)
    tiny = rng.uniform(0.08, 0.35, rng.binomial(len(radii), style.micronuclei)) * typical
    radii = np.concatenate([radii, tiny])
    sheet = _Sheet(side)
    for centre, radius in zip(place(rng, radii, (side, side)), radii, strict=True):
        if not np.isnan(centre[0]):
            _add_nucleus(rng, sheet, style, centre, radius, diameter)
    light = sheet.light
    if style.cytoplasm:
        light += style.cytoplasm * cytoplasm(rng, sheet.labels > 0, diameter)
    if style.glare:
        light += style.glare * debris(rng, side, diameter)
    if style.fibres:
        light += fibres(rng, side, diameter, style.fibres)
    light = blur(light, style.blur * diameter)
    if style.ghosts:
        light += ghosts(rng, side, diameter, style.ghosts)
    if style.halo:
        light += style.halo * (blur(light, style.halo_reach * diameter) - light)
    if style.haze:
        light += style.haze * haze(rng, side, diameter)
    return VariedScene(light.astype(np.float32), sheet.labels, diameter)


class _Sheet:
    """Light and labels so far, and how deep in its nucleus each pixel lies."""

    def __init__(self, side: int):
        self.light = np.zeros((side, side), np.float32)
        self.labels = np.zeros((side, side), np.int32)
        self.depth = np.full((side, side), np.inf, np.float32)
        self.count = 0

    def window(self, centre: np.ndarray, half: int) -> tuple[tuple, tuple]:
        """Where a patch around a centre lies on the sheet, and which part of it does."""
        here, part = [], []
        for middle in np.rint(centre).astype(int):
            low, high = max(middle - half, 0), min(middle + half + 1, len(self.light))
            here.append(slice(low, max(low, high)))
            part.append(slice(low - middle + half, max(low, high) - middle + half))
        return tuple(here), tuple(part)


def _add_nucleus(rng, sheet: _Sheet, style: Style, centre, radius, diameter) -> None:
    elongation = 1 + (style.elongation - 1) * rng.gamma(4, 0.25)
    mitotic = rng.random() < 0.02
    if mitotic:
        radius, elongation = 0.7 * radius, elongation + 1
    half = reach(radius, elongation)
    irregularity = min(0.15, style.irregularity * np.exp(0.4 * rng.standard_normal()))
    nucleus = draw_nucleus(
        rng,
        radius,
        elongation,
        rng.uniform(0.15, 0.3) if rng.random() < style.lobed else irregularity,
        min(0.45, style.contrast * np.exp(0.3 * rng.standard_normal())),
        style.coarseness,
        style.flatness,
        nucleoli=not mitotic and rng.random() < 0.7,
        half=half,
    )
    fading = np.clip(1 - nucleus.depth**style.flatness, 0, None) ** (0.5 * (style.softness - 1))
    density = nucleus.density * fading * (2.0 if mitotic else 1.0)
    for _ in range(rng.poisson(style.chromocentres)):
        y, x = half + rng.normal(0, 0.4 * radius, 2)
        size = radius * rng.uniform(0.05, 0.12)
        spot = np.zeros_like(density)
        add_spot(spot, y, x, size, 2 * np.pi * size**2 * rng.uniform(0.3, 2.0))
        density = density + spot * nucleus.mask
    density = density * np.float32(np.exp(style.light_spread * rng.standard_normal()))
    if style.defocus:
        density = blur(density, abs(rng.normal(0, style.defocus)) * diameter + 1e-3)
    _stack(rng, sheet, style, centre, half, nucleus, density, diameter)


def _stack(rng, sheet, style, centre, half, nucleus, density, diameter) -> None:
    """Lay a nucleus over the others, or let it flatten against them."""
    here, part = sheet.window(centre, half)
    mask, depth, density = nucleus.mask[part], nucleus.depth[part], density[part]
    if not mask.any():
        return
    sheet.count += 1
    owners, deepest = sheet.labels[here], sheet.depth[here]
    taken = mask & (owners > 0)
    if rng.random() < style.pressed:
        keeps = depth < deepest  # each pixel goes to the nucleus that it lies deeper in
        lost = taken & keeps
        sheet.light[here][lost] = 0
        seam = ndimage.binary_dilation(taken & ~keeps) & keeps & mask
        density = np.where(taken & ~keeps, 0, density)
        if style.seam * diameter > rng.random():
            density = np.where(seam, 0.3 * density, density)
        mask = mask & (keeps | ~taken)
    else:
        mask = mask & (~taken | (rng.random() < 0.5))
    sheet.light[here] += density
    owners[mask] = sheet.count
    deepest[mask] = depth[mask]
