"""Names that options take, known without importing what they name."""

# engines of cellsieve.coarse
COARSE = ("watershed", "region_growing", "split_merge")

# kinds of prompts, see cellsieve.pseudo_labelling.prompts
PROMPT_KINDS = ("point", "box", "darkest", "neighbours")

# engines of cellsieve.segmenters; the first is the default
ENGINES = ("votes", "maskrcnn", "cellpose")

# whose outlines become pseudo-labels, see cellsieve.pseudo_labelling.pseudo_labels
SOURCES = ("sam", "cellpose", "coarse")

# anomaly methods that fit no network: the default one, which uses a network that ships, and those
# that have none
OUTLIER_EXPOSURE, SIGNS = "outlier_exposure", "signs"
HAND_MADE = (SIGNS, "features")
UNFITTED = (OUTLIER_EXPOSURE, *HAND_MADE)

# what is looked at beside a nucleus: the brightest speck, or what a network finds in windows
SURROUNDINGS = ("specks", "localised")

# of reference models: what bank and calibration hold; models of another one are refused
REFERENCE_FORMAT = 4

# what the images of a run and of its reference are; models of another kind are refused
MODALITY = "fluorescence"

# anomaly methods that fit a network, see cellsieve.anomaly_networks.methods; the first fits nothing
ANOMALY_NETWORKS = (
    "frozen",
    "tmscl",
    "tmscl_exclude",
    "msc",
    "cutpaste_normal",
    "cutpaste_scar",
    "cutpaste_3way",
    "fpi",
)
