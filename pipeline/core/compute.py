"""What a command computes on."""

import dataclasses
from dataclasses import dataclass
from enum import StrEnum

from pipeline.core.errors import DnntuneError


class Launch(StrEnum):
    """Where workers run."""

    LOCAL = "local"
    RAY = "ray"


@dataclass(frozen=True)
class Compute:
    """What a study, or a command without workers, computes on.

    Attributes:
        workers: Worker processes.
        threads: Threads of each process; None for an equal share of the cores, without workers PyTorch's choice.
        device: auto, cpu, cuda or cuda:N.
        launcher: Where workers run: processes of this machine, or tasks of a Ray cluster.
        ray_address: A running cluster, see `RayLauncher`; None for one that is started here.

    Raises:
        DnntuneError: A cluster's address is given, and workers do not run on Ray.
    """

    workers: int = 1
    threads: int | None = None
    device: str = "auto"
    launcher: Launch = Launch.LOCAL
    ray_address: str | None = None

    def __post_init__(self) -> None:
        if self.ray_address is not None and self.launcher != Launch.RAY:
            raise DnntuneError(
                f"--ray-address {self.ray_address} needs --launcher ray; this run has --launcher {self.launcher}"
            )

    def options(self) -> dict[str, object]:
        """Returns the command line's options that say this, by name; a default is left out."""
        default = Compute()
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {name: value for name, value in values.items() if value != getattr(default, name)}
