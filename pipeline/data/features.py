"""What frozen layers gave for the images of a data set, in the images' place."""

from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.data.image_data import VALUES_PER_CHUNK, Change


@dataclass(frozen=True)
class LabeledFeatures:
    """One part of a data set as cached features.

    Attributes:
        views: Features of all images, (rows, ...) each: one tensor, or one for each augmented view of the images. They
            may lie on the processor (memory-mapped, of any size) while the network is elsewhere.
        rows: (examples,), int64, where in them each example stands, on the features' device.
        labels: (examples,), int64, on the training device.
    """

    views: tuple[Tensor, ...]
    rows: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def chunk_size(self) -> int:
        return max(1, VALUES_PER_CHUNK[self.labels.device.type] // self.views[0][0].numel())

    def batch(self, rows: Tensor, change: Change | None = None) -> tuple[Tensor, Tensor]:
        """Returns features (batch, ...), float32, of a view drawn at random, and labels (batch,)."""
        assert change is None, "augmentation comes before the cache"
        view = self.views[0] if len(self.views) == 1 else self.views[int(torch.randint(len(self.views), ()))]
        return self._features(view, self.rows[rows.to(self.rows.device)]), self.labels.index_select(0, rows)

    def slice(self, start: int, stop: int) -> tuple[Tensor, Tensor]:
        """Returns features of the first view and labels from one row up to another."""
        return self._features(self.views[0], self.rows[start:stop]), self.labels[start:stop]

    def _features(self, view: Tensor, rows: Tensor) -> Tensor:
        return view.index_select(0, rows).to(self.labels.device, torch.float32)
