"""scikit-learn's handwritten digits: 1,797 gray images of 8 x 8, shipped with it."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pipeline.config.data import Digits
from pipeline.data.images import Images, Split
from pipeline.data.split import stratified_split

# The data set has no test set of its own; this one is the same whatever the validation split's seed.
TEST_FRACTION = 0.2
TEST_SEED = 0
# The pixels are 0 to 16; times 15 they fill a byte without loss.
SCALE = 15


def read_digits(_config: Digits, split: Split, _folders: Sequence[Path]) -> Images | None:
    """Reads the digits (Alpaydin and Kaynak, UCI, 1998); a fifth of each class is the test set."""
    if split == "valid":
        return None
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    pixels = (np.asarray(pixels) * SCALE).astype(np.uint8).reshape(-1, 1, 8, 8)
    everything = Images(pixels, np.asarray(labels, dtype=np.int64), tuple(map(str, range(10))), "scikit-learn's digits")
    train, test = stratified_split(everything.labels, TEST_FRACTION, TEST_SEED)
    return everything.take(train if split == "train" else test)
