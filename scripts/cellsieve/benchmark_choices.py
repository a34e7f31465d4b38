"""What the benchmark of segmentation compares, known without importing any of it."""

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
