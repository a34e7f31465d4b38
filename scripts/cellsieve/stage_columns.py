"""What the columns of nuclei, and of the tables between the stages, mean.

Apart from those of summaries: to say something better of a slide's columns is no reason
to run the stages again.
"""

from collections.abc import Iterable

NUCLEUS = {
    "field": "Name of the image, as in the sheet.",
    "slide": "Name of the glass slide; thresholds are set for each slide.",
    "patient": "Name of the person, as in the sheet; empty when the sheet gives none.",
    "cell": "Number of the nucleus in its field: its label in nuclei.tif.",
    "y_px": "Position of the nucleus from the top of the field, in pixels.",
    "x_px": "Position of the nucleus from the left of the field, in pixels.",
    "y_um": "Position from the top in µm; empty when the pixel size is not known.",
    "x_um": "Position from the left in µm; empty when the pixel size is not known.",
    "area_px": "Area of the nucleus in pixels.",
    "area_um2": "Area of the nucleus in µm²; empty when the pixel size is not known.",
    "major_um": "Long axis of the ellipse that fits the nucleus, in µm.",
    "minor_um": "Short axis of the ellipse that fits the nucleus, in µm.",
    "eccentricity": "0 for a circle, towards 1 for a long ellipse.",
    "solidity": "Area over the area of the convex hull: 1 without dents, lower when irregular.",
    "dapi_mean": "Mean DAPI signal of the nucleus, background removed, in camera counts.",
    "dapi_sum": "Sum of that signal over the nucleus: follows the amount of DNA.",
    "touches_border": "Whether the nucleus is cut by the border of the field.",
    "overlapping": "Whether the nucleus overlaps another one.",
    "anomaly_crop": "How unlike the reference nuclei the nucleus itself is; no unit.",
    "anomaly_map": "How bright the brightest speck beside the nucleus is, relative to the nucleus: "
    "micronuclei and debris; or, with anomaly.surroundings: localised, what a network finds there.",
    "anomaly_score": "The score that ranks the nuclei: how rare it would be in the reference. "
    "1 is one in ten, 2 one in a hundred, and so on.",
    "anomaly_z": "The score in robust standard deviations from the median of its slide.",
    "anomaly_p": "Share of held-out reference nuclei that score at least as high; "
    "empty when no reference was learned, or in a field unlike it.",
    "anomaly_q": "Expected share of false alarms among all nuclei of the slide that score at "
    "least as high.",
    "nearest_reference_1": "The reference nucleus most like this one, as field:cell.",
    "nearest_reference_2": "The second most like it.",
    "call": "From DAPI alone, the nucleus and what lies beside it: normal, suspicious or "
    "not_assessable.",
    "fish_call": "From the FISH signals alone: normal, loss, gain, cac (a circulating genetically "
    "aberrant cell) or not_assessable.",
    "reasons": "Why the nucleus was called as it was, or could not be called.",
}

# of the tables between the stages; a row may be a nucleus, a candidate for one, or a spot
BETWEEN_STAGES = {
    "cell": "Number of the nucleus in its field: its label in nuclei.tif; 0 is outside all nuclei.",
    "y_px": "Position from the top of the field, in pixels.",
    "x_px": "Position from the left of the field, in pixels.",
    "area_px": "Area in pixels.",
    "touches_border": "Whether the border of the field cuts it.",
    "reason": "Why the candidate was refused.",
    "contact": "Share of the nucleus' outline that lies against other nuclei.",
    "bright_part": "How bright the nucleus' brightest part is, relative to its median.",
    "probe": "Name of the probe, as in the configuration.",
    "size_px": "Diameter of the spot, 2√2 times its standard deviation, in pixels.",
    "height": "How far the spot stands out after the band-pass, in camera counts.",
    "contrast": "How far it stands out: a spot in standard deviations of the noise in its nucleus, "
    "a candidate relative to its own brightness.",
    "shared": "Whether another nucleus is so near that the spot may be its.",
    "candidate": "Number of the candidate for a nucleus in its field.",
    "top_px": "First row of its box.",
    "left_px": "First column of its box.",
    "bottom_px": "Row below its box.",
    "right_px": "Column to the right of its box.",
    "mask": "Its pixels in its box, as lengths of runs of 0 and 1 in turn, row by row.",
    "length_px": "Long axis of the ellipse that fits it, in pixels.",
    "width_px": "Short axis of the ellipse that fits it, in pixels.",
    "roundness": "4π times its area over the square of its perimeter: 1 for a disc.",
    "negative_y_px": "Darkest pixel of the field, from the top.",
    "negative_x_px": "Darkest pixel of the field, from the left.",
    "kept": "Whether a promptable model is asked about it.",
    "predicted_iou": "IoU with the true outline that the model expects of its own.",
    "stability": "IoU of the model's outlines at a higher and at a lower threshold.",
    "duplicate_of": "Candidate that has a better mask of the same object; empty where none has.",
    "label": "Its label in the pseudo-labels; empty where it was refused.",
    "accepted": "Whether it became a pseudo-label.",
    "doubtful": "Whether it was accepted, not beyond doubt, for the sake of its bins.",
    "quality": "The weakest of its checks: 1 at the strict limit, 0 at the lenient one, linear "
    "from -1 to 2; -1 also for what better masks cover, or was refused without being measured.",
    "size_bin": "Its size in that of a typical nucleus: small, middling, large.",
    "brightness_bin": "Its brightness among the candidates: dim, middling, bright.",
    "density_bin": "How many others are near: alone, middling, crowded.",
    "relative_area": "Its area in areas of a typical nucleus.",
    "fill": "Its area over that of the ellipse of equal moments.",
    "misfit": "Its area beside the ellipse of equal moments, in areas of a typical nucleus.",
    "width_to_length": "Short over long axis of the ellipse of equal moments.",
    "shared_outline": "Share of its outline that lies against other candidates.",
    "shape_neck": "Depth of the saddle between its two lobes, relative to the lower; 0 with one.",
    "brightness": "Its mean light in camera counts.",
    "contrast_to_noise": "What it is brighter than its surroundings, over the noise of a pixel.",
    "outline_fit": "IoU with what is brighter than half way from its surroundings to it.",
    "edge_stability": "Area above 65 % over area above 35 % of the way from its surroundings.",
    "intensity_neck": "Depth of the saddle between two lobes of its light, relative to the lower; "
    "0 with one.",
    "agreement": "IoU of the coarse outline and the model's.",
}
_UNITS = {"_um2": "µm²", "_um": "µm", "_px": "px", "_ul": "µl"}
_ODD_UNITS = {"area_px": "px²"} | dict.fromkeys(
    ("dapi_mean", "dapi_sum", "height", "brightness"), "camera counts"
)


def stage_definition(column: str, probes: Iterable[str] = ()) -> str:
    """Return what a column of a table between the stages means."""
    known = BETWEEN_STAGES.get(column) or NUCLEUS.get(column, "")
    return of_probe(column, probes) or known


def of_probe(column: str, probes: Iterable[str]) -> str:
    """Return what a column means if it is of one of the probes, else an empty text."""
    for probe in probes:
        if column == probe:
            return f"Signals of the probe {probe} counted in the nucleus; empty if not countable."
        if column == f"{probe}_state":
            return f"Copies of the probe {probe}: loss, normal, gain, or failed."
    return ""


def unit(column: str) -> str | None:
    """Return the unit of a column of any table, None where it has none."""
    by_suffix = (of for suffix, of in _UNITS.items() if column.endswith(suffix))
    return _ODD_UNITS.get(column, next(by_suffix, None))
