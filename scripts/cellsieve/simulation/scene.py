"""Everything that a field will show and where, before a pixel is drawn."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd

from cellsieve.simulation.clutter import KINDS
from cellsieve.simulation.draws import generator
from cellsieve.simulation.layout import place
from cellsieve.simulation.nucleus import reach
from cellsieve.simulation.optics import CoarseMap, blur_margin, illumination, scattered, uneven
from cellsieve.simulation.population import draw_population
from cellsieve.simulation.slide import Slide


@dataclass(frozen=True)
class Field:
    """What is wanted of a field.

    Attributes
    ----------
    height, width : int
        In pixels.
    nuclei : int
        How many to place; the border hides a few of them wholly.
    abnormal : float
        Probability that a nucleus is abnormal.
    seed : int
        Fields of one slide differ by it.
    pixel_size_um : float
        Micrometres a pixel.
    diameter_um : float
        Diameter of a typical normal nucleus.
    """

    height: int
    width: int
    nuclei: int
    abnormal: float = 0.05
    seed: int = 0
    pixel_size_um: float = 0.325
    diameter_um: float = 13.7

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.height, self.width

    @property
    def radius_px(self) -> float:
        """Radius of a typical nucleus in pixels."""
        return 0.5 * self.diameter_um / self.pixel_size_um


class Item(NamedTuple):
    """Something to draw: its patch is ``2 * half + 1`` px wide around (y, x)."""

    y: int
    x: int
    half: int
    kind: str
    index: int


class Scene(NamedTuple):
    """A field before it is drawn.

    Attributes
    ----------
    cells : DataFrame
        As `draw_population` gives it, with ``y`` and ``x`` (px, integer) and
        ``blur_px`` (standard deviation),
        ``sharp_px`` (the same in focus) and ``radius_px``.
    items : list of Item
        Nuclei and clutter, from the top of the field to its bottom.
    haze : CoarseMap
        DAPI light scattered by nuclei, in focus and far out of it.
    ground : CoarseMap
        Unevenness of the background, -1 to 1.
    lamp : CoarseMap
        Illumination, at most 1.
    """

    cells: pd.DataFrame
    items: list[Item]
    haze: CoarseMap
    ground: CoarseMap
    lamp: CoarseMap


def compose(field: Field, slide: Slide) -> Scene:
    """Draw the contents of a field.

    Parameters
    ----------
    field : Field
    slide : Slide

    Returns
    -------
    Scene
    """
    rng = generator("population", field.seed)
    cells = draw_population(rng, field.nuclei, field.abnormal, slide, field.diameter_um)
    cells["radius_px"] = cells["radius_um"] / field.pixel_size_um
    cells["sharp_px"] = slide.blur_um / field.pixel_size_um
    cells["blur_px"] = np.hypot(slide.blur_um, cells["defocus_um"]) / field.pixel_size_um
    centres = place(generator("layout", field.seed), cells["radius_px"].to_numpy(), field.shape)
    found = ~np.isnan(centres[:, 0])
    cells = cells[found].reset_index(drop=True)
    cells[["y", "x"]] = np.rint(centres[found]).astype(int)
    items = [*_nuclei(cells), *_clutter(field, slide)]
    items.sort(key=lambda item: item.y - item.half)
    step = max(2, round(field.radius_px / 3))
    rng = generator("surroundings", field.seed)
    return Scene(
        cells,
        items,
        _haze(rng, field, slide, cells, step),
        uneven(rng, field.shape, step, 20 * field.radius_px),
        illumination(field.shape, step, slide.vignetting, rng.uniform(0.35, 0.65, 2)),
    )


def _nuclei(cells: pd.DataFrame) -> list[Item]:
    return [
        Item(
            cell.y,
            cell.x,
            reach(cell.radius_px, cell.elongation) + blur_margin(cell.blur_px),
            "nucleus",
            cell.Index,
        )
        for cell in cells.itertuples()
    ]


def _clutter(field: Field, slide: Slide) -> list[Item]:
    rng = generator("clutter", field.seed)
    squares = field.height * field.width / (2 * field.radius_px) ** 2
    items = []
    for kind, (_, size, share) in KINDS.items():
        half = int(size * field.radius_px) + blur_margin(slide.blur_um / field.pixel_size_um)
        for _ in range(rng.poisson(squares * share)):
            y, x = (int(v) for v in rng.integers(0, field.shape))
            items.append(Item(y, x, half, kind, len(items)))
    return items


def _haze(
    rng: np.random.Generator, field: Field, slide: Slide, cells: pd.DataFrame, step: int
) -> CoarseMap:
    """Light that every nucleus scatters, and that of nuclei above the focal plane."""
    light = (cells["density"] * np.pi * cells["radius_px"] ** 2).to_numpy()
    centres = cells[["y", "x"]].to_numpy(float)
    wide = scattered(field.shape, step, centres, 0.6 * slide.glare * light, 2.5 * field.radius_px)
    near = scattered(field.shape, step, centres, 0.4 * slide.glare * light, 0.9 * field.radius_px)
    floating = rng.poisson(0.12 * len(cells))
    places = rng.uniform(0, field.shape, (floating, 2))
    typical = slide.stain * np.pi * field.radius_px**2
    far = scattered(
        field.shape, step, places, typical * rng.uniform(0.05, 0.3, floating), field.radius_px
    )
    return CoarseMap(wide.values + near.values + far.values, step)
