"""What the columns of the tables of a run mean, in plain words."""

from collections.abc import Iterable

from cellsieve.stage_columns import NUCLEUS, of_probe

DEFINITIONS = {
    **NUCLEUS,
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
    passed_on = "Column of your sheet, passed on." if column.startswith("x_") else ""
    return DEFINITIONS.get(column) or of_probe(column, probes) or passed_on
