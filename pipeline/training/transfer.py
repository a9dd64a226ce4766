"""Transfer learning: which phases a configuration's training goes through.

A plan is a generator of phases yet to be built. It is sent, after each, whether the phase has improved the best
validation measure so far; most plans do not care, and the ladder climbs by it. Nothing is built and nothing drawn at
random before what it yields is called, but for the first phase: so a plan can be asked whether another phase follows.
"""

import functools
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.config.model import BackboneConfig
from pipeline.config.transfer import Auto, Frozen, NoTransfer, Unfreeze
from pipeline.models.backbones.stages import check_stages, num_stages
from pipeline.training.phases import Phase, PhaseBuilder

if TYPE_CHECKING:
    from pipeline.models.backbones.backbone import Backbone

Plan = Generator[Callable[[], Phase], bool, None]

# The lecture's advice: unfreeze one or two of the top layers.
MOST_UNFROZEN = 2


def plan(builder: PhaseBuilder, *, num_train: int | None = None) -> Plan:
    """Returns the phases of a training.

    Args:
        builder: Builds them.
        num_train: Training images by which the ladder tells little data from ample; None for those that there are.

    Raises:
        ModelError: A network cannot be built, or has too few stages.
    """
    config = builder.config
    if isinstance(config.transfer, NoTransfer):
        yield lambda: builder.everything(builder.network(config.model))
        return
    assert isinstance(config.model, BackboneConfig)
    match config.transfer:
        case Frozen():
            frozen = builder.backbone(config.model, is_shared=True)
            yield functools.partial(builder.top, frozen, 0, name="frozen", epochs=config.epochs)
        case Unfreeze() as transfer:
            network = builder.backbone(config.model)
            check_stages(config.model, num_stages(network.body), transfer.unfreeze_top_stages)
            if transfer.frozen_epochs > 0:
                yield functools.partial(builder.top, network, 0, name="frozen", epochs=transfer.frozen_epochs)
            stages = None if transfer.unfreeze_top_stages == "all" else transfer.unfreeze_top_stages
            yield functools.partial(
                builder.top,
                network,
                stages,
                name=f"unfreeze {transfer.unfreeze_top_stages}",
                epochs=config.epochs - transfer.frozen_epochs,
                lr_factor=transfer.lr_factor,
                layer_decay=transfer.layer_decay,
            )
        case Auto() as transfer:
            num_images = len(builder.data.train) if num_train is None else num_train
            yield from _progressive_unfreezing(builder, config.model, transfer, num_images)


@dataclass(frozen=True)
class _Change:
    """A network that the ladder begins anew with: its description, and what was done to it, in words."""

    model: BackboneConfig
    label: str


def _progressive_unfreezing(builder: PhaseBuilder, model: BackboneConfig, transfer: Auto, num_images: int) -> Plan:
    """Unfreezes the network phase by phase, as the lecture does; see `pipeline.config.transfer.Auto`."""
    is_little = num_images < transfer.little_data * builder.data.num_classes
    change: _Change | None = _Change(model, "")
    epochs_left = builder.config.epochs

    def phase(network: Callable[[], "Backbone"], top_stages: int, label: str) -> Callable[[], Phase]:
        nonlocal epochs_left
        epochs = min(transfer.phase_epochs, epochs_left)
        epochs_left -= epochs
        name = f"{label}unfreeze {top_stages}" if top_stages else f"{label}frozen"
        return lambda: builder.top(
            network(),
            top_stages,
            name=name,
            epochs=epochs,
            lr_factor=transfer.lr_factor,
            layer_decay=transfer.layer_decay,
        )

    while change is not None and epochs_left > 0:
        network = functools.cache(functools.partial(builder.backbone, change.model))
        freezing_has_helped = yield phase(network, 0, change.label)
        unfreezing_has_helped = False
        stages = num_stages(network().body)
        for top_stages in range(1, min(MOST_UNFROZEN, stages) + 1):
            if epochs_left == 0:
                return
            unfreezing_has_helped = yield phase(network, top_stages, change.label)
            if not unfreezing_has_helped:
                break
        if top_stages > 1 or unfreezing_has_helped or not freezing_has_helped:
            return
        change = _next_change(change.model, stages, is_little)


def _next_change(model: BackboneConfig, stages: int, is_little: bool) -> _Change | None:
    """Returns the network to try where unfreezing does not help; None if there is nothing left to drop."""
    if is_little:
        if stages == 1:
            return None
        dropped = model.drop_top_stages + 1
        return _Change(model.model_copy(update={"drop_top_stages": dropped}), f"drop {dropped}, ")
    layers = model.head.hidden_layers + 1
    widths = {} if isinstance(model.head.width, int) else {"width": (*model.head.width, model.head.width[-1])}
    head = model.head.model_copy(update={"hidden_layers": layers, **widths})
    return _Change(model.model_copy(update={"head": head}), f"head of {layers}, ")
