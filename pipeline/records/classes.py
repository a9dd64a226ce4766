"""How many images there are of each class, and where accuracy misleads because of it."""

from dataclasses import dataclass

# A model that always names the most frequent class has this accuracy or more: accuracy says little then.
MISLEADING_SHARE = 0.8
# Of more classes than this, only the rarest and the most frequent are named.
MAX_NAMED = 12


@dataclass(frozen=True)
class ClassCounts:
    """Images of each class; empty where they are not known.

    Attributes:
        names: The classes.
        train: Images of each to train on.
        valid: Images of each to validate on.
    """

    names: tuple[str, ...] = ()
    train: tuple[int, ...] = ()
    valid: tuple[int, ...] = ()

    @property
    def text(self) -> str:
        """The counts on one line; of many classes the ends; empty where they are not known."""
        if not self.names:
            return ""
        rows = [f"{name} {self._counts(index)}" for index, name in enumerate(self.names)]
        if len(set(zip(self.train, self.valid, strict=True))) == 1:
            return f"of each class {self._counts(0)} images to train + validate on"
        if len(rows) > MAX_NAMED:
            order = sorted(range(len(rows)), key=self.train.__getitem__)
            rows = [f"{rows[order[0]]} (the rarest) to {rows[order[-1]]} (the most frequent)"]
        return f"images to train + validate on, by class: {', '.join(rows)}"

    @property
    def warning(self) -> str | None:
        """What to do where one class has so many of the validation images that accuracy misleads; None elsewhere."""
        total = sum(self.valid)
        if not total or (largest := max(self.valid)) <= MISLEADING_SHARE * total:
            return None
        name = self.names[self.valid.index(largest)]
        return (
            f"warning: {largest / total:.1%} of the validation images are of class {name}, so that always naming it "
            f"has an accuracy of {largest / total:.4f}: accuracy misleads. Use valid_macro_f1 instead (study.metrics, "
            "early_stopping.monitor), and try loss.class_weights: balanced or data.sampling: balanced"
        )

    def _counts(self, index: int) -> str:
        return f"{self.train[index]:,} + {self.valid[index]:,}"


UNKNOWN_CLASSES = ClassCounts()
