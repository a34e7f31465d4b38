"""How measured figures are printed: as JSON that a person can read too."""

import json
from typing import Any


def as_json(figures: dict[str, Any]) -> str:
    """Return a JSON object with one line a figure and six significant digits a number.

    Parameters
    ----------
    figures : dict
        Name to number, text, None, or dict of such.
    """
    lines = [f"  {json.dumps(name)}: {json.dumps(_rounded(of))}" for name, of in figures.items()]
    return "{\n" + ",\n".join(lines) + "\n}"


def _rounded(figure: Any) -> Any:
    if isinstance(figure, dict):
        return {name: _rounded(of) for name, of in figure.items()}
    return float(f"{figure:.6g}") if isinstance(figure, float) else figure
