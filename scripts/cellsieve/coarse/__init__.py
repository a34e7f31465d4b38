"""Classical segmentation of nuclei: no training, no annotation.

An engine is a function ``engine(image, scale) -> labels`` on one piece of a
field; `ENGINES` names them all. What depends on the whole field (`Scale`) is
measured once, so that a piece is segmented alike wherever it is cut.
"""

from collections.abc import Callable

import numpy as np

from cellsieve.choices import COARSE
from cellsieve.coarse.flooding import watershed
from cellsieve.coarse.growing import region_growing
from cellsieve.coarse.scale import LEVELS, Scale, measure_scale
from cellsieve.coarse.splitting import split_merge

__all__ = ["ENGINES", "LEVELS", "Scale", "measure_scale", "watershed"]

ENGINES: dict[str, Callable[[np.ndarray, Scale], np.ndarray]] = dict(
    zip(COARSE, (watershed, region_growing, split_merge), strict=True)
)
