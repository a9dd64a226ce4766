"""From images as users hold them to what a network takes: as part of a graph, and in words."""

from dataclasses import asdict

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.data.image_data import LabeledImages
from pipeline.export.description import Input, Output, Preprocessing, TableColumn


class Preprocess(nn.Module):
    """What `LabeledImages.prepare` does, of operations that every format has.

    Without resizing both are equal to the bit, with it within 1e-6.

    Args:
        images: Says how images are prepared.
    """

    mean: Tensor
    scale: Tensor
    rows: Tensor
    columns: Tensor

    def __init__(self, images: LabeledImages) -> None:
        super().__init__()
        self.register_buffer("mean", images.mean.detach().cpu().clone())
        self.register_buffer("scale", images.scale.detach().cpu().clone())
        height, width = images.images.shape[2:]
        size = images.image_size
        self.resizes = size is not None and (height, width) != (size, size)
        if self.resizes:
            assert size is not None
            self.register_buffer("rows", resizing(height, size))
            self.register_buffer("columns", resizing(width, size).T.contiguous())

    def forward(self, images: Tensor) -> Tensor:
        """Returns standardized images of the network's size.

        Args:
            images: (batch, channels, height, width), as the data set holds them.
        """
        prepared = (images.to(torch.float32) - self.mean) * self.scale
        if self.resizes:
            prepared = torch.matmul(self.rows, torch.matmul(prepared, self.columns))
        return prepared


class WithProbabilities(nn.Module):
    """A whole classifier: from images as users hold them to probabilities (batch, classes)."""

    def __init__(self, preprocess: Preprocess, network: nn.Module) -> None:
        super().__init__()
        self.preprocess, self.network = preprocess, network

    def forward(self, images: Tensor) -> Tensor:
        """Returns probabilities.

        Args:
            images: (batch, channels, height, width).
        """
        return functional.softmax(self.network(self.preprocess(images)), dim=1)


def resizing(length: int, size: int) -> Tensor:
    """Returns the matrix (size, length) that resizes a column: bilinear, with antialiasing.

    The operation is linear and separable, so what it makes of an identity matrix says all of it.
    """
    columns = torch.eye(length)[None, None]
    return functional.interpolate(columns, size=(size, length), mode="bilinear", antialias=True)[0, 0]


def described(images: LabeledImages, num_classes: int) -> Preprocessing:
    """Returns what an export takes, does to it, and gives; `examples` goes back."""
    channels, height, width = images.images.shape[1:]
    resize = "bilinear with antialiasing, to image_size pixels" if images.image_size is not None else "none"
    return Preprocessing(
        input=Input(
            name="images",
            dtype="uint8" if images.images.dtype == torch.uint8 else "float32",
            shape=("batch", channels, height, width),
        ),
        output=Output(name="probabilities", dtype="float32", shape=("batch", num_classes)),
        steps=("to float32", "minus mean, by channel", "times scale, by channel", f"resize: {resize}"),
        mean=tuple(images.mean.flatten().tolist()),
        scale=tuple(images.scale.flatten().tolist()),
        image_size=images.image_size,
        columns=None if images.columns is None else tuple(TableColumn(**asdict(each)) for each in images.columns),
    )


def examples(description: Preprocessing) -> LabeledImages:
    """Returns no images at all, which say how others are prepared."""
    mean, scale = (torch.tensor(values).view(1, -1, 1, 1) for values in (description.mean, description.scale))
    columns = None if description.columns is None else tuple(each.column() for each in description.columns)
    images = torch.empty((0, *description.image_shape), dtype=getattr(torch, description.input.dtype))
    labels = torch.empty(0, dtype=torch.int64)
    return LabeledImages(images, labels, mean, scale, description.image_size, columns=columns)
