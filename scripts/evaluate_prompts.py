"""Measure a promptable model on labelled images: prompts are made from the true labels.

Each image is preprocessed as in the workflow; the diameter is the one estimated from the image.
Every true nucleus is asked for with the kinds of prompts given, and its IoU with the answer is
taken, 0 where there is none. Prints, as JSON, the mean over all nuclei (pooled) and the mean over
images of their means, with the 95 % bootstrap interval over images.
"""

from collections.abc import Sequence

from cellsieve.choices import PROMPT_KINDS
from cellsieve.cli import parser, run
from cellsieve.model_options import add_labelled_options, add_model_options


def main(argv: Sequence[str] | None = None) -> None:
    """Write one row an image; print the averages."""
    options = parser(__doc__)
    add_labelled_options(options)
    add_model_options(options)
    options.add_argument("--prompt", nargs="+", required=True, choices=PROMPT_KINDS)
    args = options.parse_args(argv)

    import pandas as pd
    import torch
    import zarr
    from tqdm import tqdm

    from cellsieve.benchmarks.bootstrap import estimate, mean, pooled
    from cellsieve.benchmarks.figures import as_json
    from cellsieve.benchmarks.labelled_folder import find_labelled, open_preprocessed
    from cellsieve.benchmarks.prompted_agreement import prompted_ious
    from cellsieve.files import atomic, scratch
    from cellsieve.promptable import load_model

    pairs = find_labelled(args.images, args.labels, args.list)
    torch.set_num_threads(args.threads)
    model = load_model(args.model, args.weights, args.device)
    rows = []
    for pair in tqdm(pairs, disable=None):
        with scratch(args.table) as folder:
            store = zarr.open_group(folder, mode="w")
            with open_preprocessed(pair, args.channel, store) as field:
                ious = prompted_ious(field, model, args.prompt)["iou"]
        row = {"image": pair.image.name, "nuclei": len(ious), "diameter_px": field.diameter}
        rows.append({**row, "sum_iou": ious.sum(), "mean_iou": ious.mean()})
    table = pd.DataFrame(rows)
    with atomic(args.table) as part:
        table.to_csv(part, index=False, float_format="%.6g")
    summary = {
        "images": len(table),
        "nuclei": int(table["nuclei"].sum()),
        "iou_of_nuclei": estimate(pooled(table["sum_iou"], table["nuclei"])).as_dict("pooled"),
        "iou_of_images": estimate(mean(table["mean_iou"])).as_dict("mean"),
    }
    print(as_json(summary))


if __name__ == "__main__":
    run(main)
