"""Draw a field from top to bottom, a strip at a time."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pandas as pd

from cellsieve.simulation.camera import add_hot_pixels, expose
from cellsieve.simulation.canvas import Canvas
from cellsieve.simulation.clutter import KINDS
from cellsieve.simulation.draws import generator
from cellsieve.simulation.nucleus import draw_nucleus
from cellsieve.simulation.optics import add_spot, bleed_through, blur
from cellsieve.simulation.scene import Field, Item, Scene, compose
from cellsieve.simulation.signals import draw_signals
from cellsieve.simulation.slide import CHANNELS, PROBES, Slide
from cellsieve.simulation.texture import texture
from cellsieve.simulation.truth import Tally

TILE = 512  # noise is drawn tile by tile, so that it does not depend on the strips


class Strip(NamedTuple):
    """Finished rows of a field.

    Attributes
    ----------
    top : int
        First row.
    image : ndarray, (C, h, W), uint16
    labels : ndarray, (h, W), uint32
        0 = background; cell ``i`` of the scene has label ``i + 1``.
    """

    top: int
    image: np.ndarray
    labels: np.ndarray


def render(field: Field, slide: Slide) -> tuple[np.ndarray, np.ndarray, pd.DataFrame]:
    """Draw a small field in memory.

    Parameters
    ----------
    field : Field
    slide : Slide
        From `draw_slide`; change single properties, such as the blur or the
        read noise, with `dataclasses.replace`.

    Returns
    -------
    image : ndarray, (C, H, W), uint16
        Channels as in `CHANNELS`.
    labels : ndarray, (H, W), uint32
        1 to n; where nuclei overlap the upper one owns the pixel.
    cells : DataFrame
        The truth, a row a label; see `Tally.table`.
    """
    scene = compose(field, slide)
    tally = Tally(len(scene.cells), field.shape)
    finished = list(strips(field, slide, scene, tally))
    image = np.concatenate([strip.image for strip in finished], axis=1)
    labels = np.concatenate([strip.labels for strip in finished])
    return image, tally.lookup()[labels], tally.table(scene.cells)


def strips(
    field: Field, slide: Slide, scene: Scene, tally: Tally, tile_rows: int = 1
) -> Iterator[Strip]:
    """Draw a field in strips; memory is bounded by a strip.

    Parameters
    ----------
    field : Field
    slide : Slide
    scene : Scene
        What `compose` gave for the two.
    tally : Tally
        Is filled on the way and complete after the last strip.
    tile_rows : int
        Rows of 512 px tiles in a strip; the pixels do not depend on it.

    Yields
    ------
    Strip
    """
    height = tile_rows * TILE
    order = generator("stack", field.seed).permutation(len(scene.cells))
    largest = max((item.half for item in scene.items), default=0)
    canvas = Canvas(field.shape, height, largest, order, tally)
    waiting = 0
    for top in range(0, field.height, height):
        rows = slice(top, min(top + height, field.height))
        while waiting < len(scene.items):
            item = scene.items[waiting]
            if item.y - item.half >= rows.stop:
                break
            _draw(canvas, field, slide, scene, item)
            waiting += 1
        light, labels = canvas.take(rows)
        tally.count(top, labels)
        yield Strip(top, _photograph(field, slide, scene, light, rows), labels)


def _draw(canvas: Canvas, field: Field, slide: Slide, scene: Scene, item: Item) -> None:
    rng = generator(item.kind, field.seed, item.index)
    here, part = canvas.window(item)
    if item.kind == "nucleus":
        cell = scene.cells.iloc[item.index]
        light, mask = _nucleus(rng, slide, cell, item.half)
        canvas.stamp(item, mask)
    else:
        light = KINDS[item.kind][0](rng, slide, field.radius_px, item.half)
        light = blur(light, slide.blur_um / field.pixel_size_um)
    canvas.light[(slice(None), *here)] += light[(slice(None), *part)]


def _nucleus(
    rng: np.random.Generator, slide: Slide, cell: pd.Series, half: int
) -> tuple[np.ndarray, np.ndarray]:
    """Blurred light in every channel, and the mask."""
    nucleus = draw_nucleus(
        rng,
        cell.radius_px,
        cell.elongation,
        cell.irregularity,
        cell.contrast,
        cell.coarseness,
        slide.flatness,
        nucleoli=cell.state not in ("condensed", "mitotic"),
        half=half,
    )
    seen = blur(nucleus.density, cell.blur_px)
    light = np.empty((len(CHANNELS), *seen.shape), np.float32)
    light[0] = cell.density * seen
    grain = np.exp(0.3 * texture(rng, seen.shape, 0.2 * cell.radius_px))
    bright = np.exp(0.25 * rng.standard_normal(len(PROBES)))
    for probe, glow in enumerate(bright * slide.autofluorescence[1:], start=1):
        light[probe] = np.float32(glow) * seen * np.rot90(grain, probe)
    counts = [cell[probe.lower()] for probe in PROBES]
    for dot in draw_signals(rng, nucleus, cell.radius_px, counts, cell.state):
        own = dot.size * cell.sharp_px
        total = 2 * np.pi * (cell.sharp_px**2 + own**2) * slide.signal[dot.probe + 1] * dot.light
        sigma = np.hypot(cell.blur_px, own)
        add_spot(light[dot.probe + 1], dot.y + half, dot.x + half, sigma, total)
    return light, nucleus.mask


def _photograph(
    field: Field, slide: Slide, scene: Scene, light: np.ndarray, rows: slice
) -> np.ndarray:
    """Add background to the light and expose it, tile by tile."""
    image = np.empty(light.shape, np.uint16)
    for left in range(0, field.width, TILE):
        for top in range(rows.start, rows.stop, TILE):
            part = (
                slice(top, min(top + TILE, rows.stop)),
                slice(left, min(left + TILE, field.width)),
            )
            on_strip = (
                slice(None),
                slice(part[0].start - rows.start, part[0].stop - rows.start),
                part[1],
            )
            image[on_strip] = _tile(field, slide, scene, light[on_strip], part)
    return image


def _tile(field, slide, scene, light, part) -> np.ndarray:
    ground = 1 + 0.3 * scene.ground.at(*part)
    lamp = scene.lamp.at(*part)
    light = light + np.float32(slide.background)[:, None, None] * ground
    light[0] += scene.haze.at(*part)
    light *= lamp
    bleed_through(light, slide.bleed)
    place = part[0].start // TILE, part[1].start // TILE
    rng = generator("noise", field.seed, *place)
    counts = expose(rng, light, slide.offset, slide.read_noise, slide.gain)
    add_hot_pixels(counts, slide.seed, *place)
    return counts
