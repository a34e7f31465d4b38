"""How the network of each engine is trained."""

from cellsieve.training.recipe import Recipe


def load_recipe(engine: str, variant: str | None = None) -> Recipe:
    """Return how the network of an engine is trained.

    Parameters
    ----------
    engine : str
        A name in `cellsieve.segmenters.ENGINES`.
    variant : str, optional
        Of ``maskrcnn`` the backbone, ``light`` or ``resnet50``; of ``cellpose``
        ``narrow`` or ``standard``. By default the one for CPUs.
    """
    if engine == "votes":
        from cellsieve.training.votes import RECIPE

        return RECIPE
    if engine == "maskrcnn":
        from cellsieve.training.maskrcnn import recipe

        return recipe(variant or "light")
    from cellsieve.training.cellpose import recipe

    return recipe(variant or "narrow")
