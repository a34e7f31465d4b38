"""Models that outline what they are pointed at, by name."""

from pathlib import Path
from textwrap import shorten

from cellsieve.devices import choose_device
from cellsieve.errors import UserError
from cellsieve.promptable.interface import PromptableModel
from cellsieve.provenance import file_sha256
from cellsieve.weights import verified


def load_model(name: str, folder: Path | str, device: str) -> PromptableModel:
    """Load a promptable model.

    Parameters
    ----------
    name : str
        ``small``, ``sam_vit_b``, ``sam_vit_l``, ``sam_vit_h``, or the path of a
        checkpoint of either kind.
    folder : path-like
        Where downloaded weights lie.
    device : str
        ``cpu``, ``cuda``, or ``auto``: cuda where there is one.

    Raises
    ------
    UserError
        If there is no such model, file or device, or the file is another one
        than it should be.
    """
    path = verified(name, folder)
    device = choose_device(device)

    from cellsieve.promptable.meta_sam import MetaSam
    from cellsieve.promptable.small_sam import SmallPromptable, is_small
    from cellsieve.state_dicts import load_state_dict

    state = load_state_dict(path)
    kind = SmallPromptable if is_small(state) else MetaSam
    try:
        return kind(state, f"{path.name}@{file_sha256(path)}", device)
    except (KeyError, IndexError, ValueError, RuntimeError) as error:
        fault = shorten(str(error), 200)
        raise UserError(
            f"{path}: neither weights of the small promptable model nor a checkpoint of SAM with"
            f" a vision transformer: {fault}"
        ) from error
