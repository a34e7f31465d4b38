"""Which sizes and forms a single nucleus may have, and in what a candidate fails."""

import math
from collections.abc import Mapping
from typing import NamedTuple

Bounds = tuple[float, float]


class ShapeLimits(NamedTuple):
    """Bounds for a candidate, both included; sizes are relative to a typical nucleus.

    Attributes
    ----------
    area : tuple of float
        In areas of a disc of the typical diameter.
    length, width : tuple of float
        Axes of the ellipse with the same second moments, in typical diameters.
    roundness : tuple of float
        4π area / perimeter²: 1 for a disc, 0.6 for an ellipse three times as
        long as wide.
    solidity : tuple of float
        Area over that of the convex hull.
    """

    area: Bounds = (0.2, 4.0)
    length: Bounds = (0.4, 3.0)
    width: Bounds = (0.35, 2.0)
    roundness: Bounds = (0.55, 1.0)
    solidity: Bounds = (0.88, 1.0)

    def faults(self, candidate: Mapping[str, float], diameter: float) -> list[str]:
        """Say in what a candidate is no single nucleus.

        Parameters
        ----------
        candidate : mapping
            ``area_px``, ``length_px``, ``width_px``, ``roundness``, ``solidity``.
        diameter : float
            Of a typical nucleus, in pixels.

        Returns
        -------
        list of str
            Such as ``area 12 px below 0.2 typical``; empty for a nucleus.
        """
        typical = math.pi * diameter**2 / 4
        checks = [
            ("area", "area_px", typical, self.area, " px", " typical"),
            ("length", "length_px", diameter, self.length, " px", " diameters"),
            ("width", "width_px", diameter, self.width, " px", " diameters"),
            ("roundness", "roundness", 1.0, self.roundness, "", ""),
            ("solidity", "solidity", 1.0, self.solidity, "", ""),
        ]
        faults = []
        for name, key, unit, (low, high), pixels, relative in checks:
            value = candidate[key]
            if not low * unit <= value <= high * unit:
                side, bound = ("below", low) if value < low * unit else ("above", high)
                faults.append(f"{name} {value:.3g}{pixels} {side} {bound:g}{relative}")
        return faults
