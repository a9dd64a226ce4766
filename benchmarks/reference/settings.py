"""What a published setting is: what was trained, how its images were prepared, and what came out."""

from dataclasses import dataclass, replace
from typing import Any, Literal

from pipeline.config.trial import TrialConfig

Scaling = Literal["unit", "pixel"]


@dataclass(frozen=True)
class Setting:
    """A published setting.

    Attributes:
        key: A short name.
        source: Who published it.
        what: The setting in words.
        config: As a configuration; data and seed are added.
        valid: Published validation accuracy at the last epoch (at the best one with early stopping).
        test: Published test accuracy, likewise.
        test_mc: Published test accuracy with Monte Carlo dropout, 100 samples.
        split: random: 30 % of the training images validate; first: the first 5,000 do.
        scaling: unit: pixels divided by 255; pixel: each pixel standardized by its own mean and deviation.
        note: What was taken where the source is silent, or what differs.
    """

    key: str
    source: str
    what: str
    config: dict[str, Any]
    valid: float | None = None
    test: float | None = None
    test_mc: float | None = None
    split: Literal["random", "first"] = "first"
    scaling: Scaling = "unit"
    note: str = ""

    @property
    def stops_early(self) -> bool:
        """Whether the best epoch's weights are measured, and not the last one's."""
        return "early_stopping" in self.config

    def shortened(self, epochs: int | None) -> "Setting":
        """Returns the setting with another number of epochs; itself if none is given."""
        return self if epochs is None else replace(self, config={**self.config, "epochs": epochs})

    def trial(self, seed: int) -> TrialConfig:
        """Returns the configuration of one run."""
        fields = {"early_stopping": {"patience": None}, **self.config, "data": {"kind": "fashion_mnist"}, "seed": seed}
        return TrialConfig.model_validate(fields)
