"""Where networks run."""

from cellsieve.errors import UserError


def choose_device(device: str) -> str:
    """Resolve ``auto``, and refuse a GPU that is not there.

    Parameters
    ----------
    device : str
        ``cpu``, ``cuda``, or ``auto``: cuda where there is one.

    Returns
    -------
    str
        ``cpu`` or ``cuda``.

    Raises
    ------
    UserError
        If cuda is asked for and PyTorch can use none.
    """
    import torch

    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        raise UserError("device cuda: this machine has none that PyTorch can use; take cpu or auto")
    return device
