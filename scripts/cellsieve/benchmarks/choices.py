"""What the benchmarks compare, known without importing any of it."""

# in the order of the table: name to title
METHODS = {
    "watershed": "Watershed",
    "sam_auto": "SAM, automatic",
    "sam_prompted": "SAM, prompted by watershed",
    "cellpose_downloaded": "Cellpose as downloaded",
    "cellpose": "Cellpose on our labels",
    "votes_shipped": "Votes as shipped",
    "votes": "Votes on our labels",
    "maskrcnn": "Mask R-CNN on our labels",
    "maskrcnn_human": "Mask R-CNN on human labels",
}
NO_WEIGHTS = "weights not available"

# Anomaly methods with their backbones. FMIC-AI's Table 1 is its method with four backbones, its
# Table 2 other methods with the best of them.
ANOMALY_METHODS = [
    ("outlier_exposure", "none"),
    ("signs", "none"),
    ("features", "none"),
    ("frozen", "vit"),
    ("tmscl", "vit"),
    ("tmscl", "resnet"),
    ("tmscl", "efficientnet"),
    ("tmscl", "regnet"),
    ("tmscl_exclude", "vit"),
    ("msc", "vit"),
    ("cutpaste_normal", "vit"),
    ("cutpaste_scar", "vit"),
    ("cutpaste_3way", "vit"),
    ("fpi", "vit"),
]
