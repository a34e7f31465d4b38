"""What the columns of the tables mean, in plain words."""

from collections.abc import Iterable

DEFINITIONS = {
    "field": "Name of the image, as in the sheet.",
    "slide": "Name of the glass slide; thresholds are set for each slide.",
    "patient": "Name of the person, as in the sheet; empty when the sheet gives none.",
    "cell": "Number of the nucleus in its field: its label in nuclei.tif; 0 is outside all nuclei.",
    "y_px": "Position from the top of the field, in pixels.",
    "x_px": "Position from the left of the field, in pixels.",
    "y_um": "Position from the top in µm; empty when the pixel size is not known.",
    "x_um": "Position from the left in µm; empty when the pixel size is not known.",
    "area_px": "Area in pixels.",
    "area_um2": "Area of the nucleus in µm²; empty when the pixel size is not known.",
    "major_um": "Long axis of the ellipse that fits the nucleus, in µm.",
    "minor_um": "Short axis of the ellipse that fits the nucleus, in µm.",
    "eccentricity": "0 for a circle, towards 1 for a long ellipse.",
    "solidity": "Area over the area of the convex hull: 1 without dents, lower when irregular.",
    "dapi_mean": "Mean DAPI signal of the nucleus, background removed, in camera counts.",
    "dapi_sum": "Sum of that signal over the nucleus: follows the amount of DNA.",
    "touches_border": "Whether the border of the field cuts it.",
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
    "status": "ok; flagged (scored, but look at it); empty (no nucleus); rejected (not usable).",
    "reason": "Why the field has that status, or the candidate was not kept.",
    "nuclei": "Nuclei that were counted.",
    "assessable": "Nuclei whose shape and texture could be assessed.",
    "assessable_fish": "Nuclei whose FISH signals could be assessed.",
    "assessable_cac": "Of these, nuclei in which enough probes could be read to tell a CAC.",
    "suspicious": "Assessable nuclei called suspicious from shape and texture.",
    "cac": "Nuclei with the FISH pattern of a circulating genetically aberrant cell.",
    "pixel_size_um": "Side of a pixel in µm; empty when not known.",
    "diameter_px": "Typical diameter of a nucleus in the field, in pixels.",
    "focus": "Sharpness of the field; lower is more blurred.",
    "saturated_fraction": "Share of the foreground's pixels at the field's highest value.",
    "height_px": "Height of the field in pixels.",
    "width_px": "Width of the field in pixels.",
    "slides": "Slides of the person in this run.",
    "fields": "Fields in this run.",
    "fields_ok": "Fields without remark.",
    "fields_flagged": "Fields that were scored but should be looked at.",
    "fields_empty": "Fields in which no nucleus was found.",
    "fields_rejected": "Fields that could not be used.",
    "suspicious_rate": "Suspicious nuclei among the assessable ones.",
    "suspicious_rate_low": "Lower end of its 95 % interval.",
    "suspicious_rate_high": "Upper end of its 95 % interval.",
    "cac_rate": "CACs among the nuclei in which a CAC could be told.",
    "cac_rate_low": "Lower end of its 95 % interval.",
    "cac_rate_high": "Upper end of its 95 % interval.",
    "volume_ul": "Blood on the slide, or on all slides of the person, as in the sheet.",
    "cac_per_100ul": "CACs in 100 µl of blood; empty unless all volumes are known.",
    "false_cac_expected": "CACs that so many normal nuclei would show by mistake.",
    "false_cac_expected_high": "Upper end of that, with 95 % confidence.",
    "false_cac_measured_on": "Normal nuclei on which the mistakes were counted: those of the "
    "reference, or simulated ones.",
    "cac_p": "Chance of as many CACs by mistake alone, at the upper end of what is expected.",
    "flag": "For research only: aberrant (enough CACs, and more than by mistake), none found "
    "(enough nuclei, too few CACs) or inconclusive.",
}

# columns of the tables between the stages alone
BETWEEN_STAGES = {
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
    "width_px": "Short axis of that ellipse, in pixels.",
    "roundness": "4π times its area over the square of its perimeter: 1 for a disc.",
    "negative_y_px": "Darkest pixel of the field, from the top.",
    "negative_x_px": "Darkest pixel of the field, from the left.",
    "kept": "Whether it is asked a promptable model about.",
    "predicted_iou": "IoU with the true outline that the model expects of its own.",
    "stability": "IoU of the model's outlines at a higher and at a lower threshold.",
    "duplicate_of": "Candidate that has a better mask of the same object; empty where none has.",
    "label": "Its label in the pseudo-labels; empty where it was refused.",
    "accepted": "Whether it became a pseudo-label.",
    "doubtful": "Whether it was accepted, not beyond doubt, for the sake of its bins.",
    "quality": "The weakest of its checks: 1 at the strict limit, 0 at the lenient one, -1 for "
    "what was refused without being measured.",
    "size_bin": "Its size among the candidates: small, middling, large.",
    "brightness_bin": "Its brightness among the candidates: dim, middling, bright.",
    "density_bin": "How many others are near: alone, middling, crowded.",
    "relative_area": "Its area in areas of a typical nucleus.",
    "fill": "Its area over that of the ellipse of equal moments.",
    "misfit": "Its area beside that ellipse, in areas of a typical nucleus.",
    "width_to_length": "Short over long axis of that ellipse.",
    "shared_outline": "Share of its outline that lies against other candidates.",
    "shape_neck": "Saddle between two lobes of its form; 0 when it has one.",
    "brightness": "Its mean light in camera counts.",
    "contrast_to_noise": "What it is brighter than its surroundings, over the noise of a pixel.",
    "outline_fit": "IoU with what is brighter than half way from its surroundings to it.",
    "edge_stability": "Area above 65 % over area above 35 % of that way.",
    "intensity_neck": "Saddle between two lobes of its light; 0 when it has one.",
    "agreement": "IoU of the coarse outline and the model's.",
}

# columns of the tables of fields, slides and patients that hold numbers; any other is text,
# a sheet's x_* columns above all: 0012 may be a name
NUMBERS = frozenset(
    {
        *("nuclei", "assessable", "assessable_fish", "assessable_cac", "suspicious", "cac"),
        *("height_px", "width_px", "pixel_size_um", "diameter_px", "focus", "saturated_fraction"),
        *("slides", "fields", "fields_ok", "fields_flagged", "fields_empty", "fields_rejected"),
        *("suspicious_rate", "suspicious_rate_low", "suspicious_rate_high"),
        *("cac_rate", "cac_rate_low", "cac_rate_high"),
        *("volume_ul", "cac_per_100ul", "false_cac_expected", "false_cac_expected_high", "cac_p"),
    }
)


def definition(column: str, probes: Iterable[str] = ()) -> str:
    """Return what a column means, or an empty text when nothing is known of it."""
    if known := DEFINITIONS.get(column) or BETWEEN_STAGES.get(column):
        return known
    for probe in probes:
        if column == probe:
            return f"Signals of the probe {probe} counted in the nucleus; empty if not countable."
        if column == f"{probe}_state":
            return f"Copies of the probe {probe}: loss, normal, gain, or failed."
    return "Column of your sheet, passed on." if column.startswith("x_") else ""
