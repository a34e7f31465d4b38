"""Measure pseudo-labels and the steps towards them on labelled images.

Each image goes through the workflow's stages without looking at its labels: background removed,
coarse segmentation, prompts, the promptable model's masks, pseudo-labels. Prints, as JSON, of the
accepted pseudo-labels the precision and the share of true nuclei that they cover (recall), both
at IoU 0.5; of the coarse outlines (kept candidates) and of the model's masks AP at IoU 0.5, AJI
and mean AP over IoU 0.5 to 0.95, as means over images, and their paired difference. low and high
are the ends of the 95 % bootstrap interval over images.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from cellsieve.choices import COARSE
from cellsieve.cli import parser, run
from cellsieve.model_options import add_labelled_options, add_model_options

if TYPE_CHECKING:
    import zarr

    from cellsieve.benchmarks.labelled_folder import Preprocessed


def main(argv: Sequence[str] | None = None) -> None:
    """Write one row an image; print the figures over all images."""
    options = parser(__doc__)
    add_labelled_options(options)
    add_model_options(options)
    options.add_argument("--coarse", default=COARSE[0], choices=COARSE)
    args = options.parse_args(argv)

    import pandas as pd
    import torch
    import zarr
    from tqdm import tqdm

    from cellsieve.benchmarks.figures import as_json
    from cellsieve.benchmarks.labelled_folder import find_labelled, open_preprocessed
    from cellsieve.benchmarks.pseudo_label_agreement import summarise_steps
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
                row = _measure(field, args.coarse, model, store)
        rows.append({"image": pair.image.name, "diameter_px": field.diameter, **row})
    table = pd.DataFrame(rows)
    with atomic(args.table) as part:
        table.to_csv(part, index=False, float_format="%.6g")
    print(as_json(summarise_steps(table)))


def _measure(
    field: "Preprocessed", engine: str, model: Any, store: "zarr.Group"
) -> dict[str, float]:
    from cellsieve.benchmarks.pseudo_label_agreement import compare_steps
    from cellsieve.pseudo_labelling.prompted import answer_field
    from cellsieve.pseudo_labelling.prompts import prompt_table
    from cellsieve.pseudo_labelling.pseudo_labels import judge
    from cellsieve.pseudo_labelling.shape_limits import ShapeLimits
    from cellsieve.segmentation import segment_field

    found = segment_field(field.dapi, field.diameter, engine, store)
    prompts = prompt_table(field.dapi, found, field.diameter, ShapeLimits())
    masks = answer_field(field.dapi, prompts, model, field.diameter, field.intensity)
    verdicts = judge(field.dapi, prompts, masks, "sam", field.diameter)
    return compare_steps(field.labels, prompts, masks, verdicts)


if __name__ == "__main__":
    run(main)
