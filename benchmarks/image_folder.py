"""Writes some of Fashion-MNIST as a folder of images, to try `image_folder_transfer` without any of your own.

python -m benchmarks.image_folder images --per-class 60
"""

import argparse
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from pipeline.config.data import FashionMnist
from pipeline.data.images import Split
from pipeline.data.sources.idx import read_fashion_mnist
from pipeline.data.sources.user_data import data_folders

PARTS: tuple[Split, ...] = ("train", "test")


def write(folder: Path, part: Split, per_class: int) -> None:
    """Writes the first images of each class as FOLDER/PART/CLASS/ROW.png."""
    images = read_fashion_mnist(FashionMnist(), part, data_folders(None))
    assert images is not None
    written: Counter[int] = Counter()
    for row, (pixels, label) in enumerate(zip(images.pixels, images.labels.tolist(), strict=True)):
        if written[label] < per_class:
            written[label] += 1
            file = folder / part / images.class_names[label].replace("/", "-") / f"{row:05d}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels[0]).save(file)


def main(arguments: Sequence[str] | None = None) -> None:
    """Writes both parts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--per-class", type=int, default=60)
    options = parser.parse_args(arguments)
    for part in PARTS:
        write(options.folder, part, options.per_class)


if __name__ == "__main__":
    main()
