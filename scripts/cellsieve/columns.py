"""What the columns of the tables mean, in plain words."""

from collections.abc import Iterable

DEFINITIONS = {
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
    "status": "ok; flagged (scored, but look at it); empty (no nucleus); rejected (not usable).",
    "reason": "Why the field has that status.",
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
    if column in DEFINITIONS:
        return DEFINITIONS[column]
    for probe in probes:
        if column == probe:
            return f"Signals of the probe {probe} counted in the nucleus; empty if not countable."
        if column == f"{probe}_state":
            return f"Copies of the probe {probe}: loss, normal, gain, or failed."
    return "Column of your sheet, passed on." if column.startswith("x_") else ""
