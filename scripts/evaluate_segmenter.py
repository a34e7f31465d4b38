"""Measure a segmenter on labelled images.

Each image is preprocessed and segmented as the workflow does, without looking at its labels.
Prints, as JSON, means over images of Dice, AJI, AP at IoU 0.5 and mean AP over IoU 0.5 to 0.95, and
the F1 at IoU 0.5 over all nuclei. low and high are the ends of the 95 % bootstrap interval over
images.
"""

from collections.abc import Sequence

from cellsieve.cli import existing_file, parser, positive, run
from cellsieve.model_options import add_labelled_options

FIGURES = ("nuclei", "dice", "aji", "ap50", "map", "f1")


def main(argv: Sequence[str] | None = None) -> None:
    """Write one row an image; print the figures over all images."""
    options = parser(__doc__)
    add_labelled_options(options)
    options.add_argument("--weights", required=True, type=existing_file, help="(.safetensors)")
    options.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda"])
    options.add_argument("--threads", type=positive, default=2, help="of PyTorch on a CPU")
    args = options.parse_args(argv)

    import pandas as pd
    import torch
    import zarr
    from tqdm import tqdm

    from cellsieve.benchmarks.agreement import compare_labels, summarise
    from cellsieve.benchmarks.figures import as_json
    from cellsieve.benchmarks.labelled_folder import find_labelled, open_preprocessed
    from cellsieve.files import atomic, scratch
    from cellsieve.network_segmentation import segment_with_network
    from cellsieve.segmenters import load_segmenter

    pairs = find_labelled(args.images, args.labels, args.list)
    torch.set_num_threads(args.threads)
    segmenter = load_segmenter(args.weights, args.device)
    rows = []
    for pair in tqdm(pairs, disable=None):
        with scratch(args.table) as folder:
            store = zarr.open_group(folder, mode="w")
            with open_preprocessed(pair, args.channel, store) as field:
                scale = field.diameter, field.intensity
                found = segment_with_network(field.dapi, *scale, segmenter, store)
                compared = compare_labels(field.labels, found.labels)
        rows.append({"image": pair.image.name, "diameter_px": field.diameter, **compared})
    table = pd.DataFrame(rows)
    with atomic(args.table) as part:
        table.to_csv(part, index=False, float_format="%.6g")
    figures = summarise(table)
    print(as_json({"images": len(table), **{name: figures[name] for name in FIGURES}}))


if __name__ == "__main__":
    run(main)
