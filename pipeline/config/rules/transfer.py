"""Rules about transfer learning and what belongs to it."""

from pipeline.config.model import BackboneConfig
from pipeline.config.rules.rule import Rule, UnusedSettingRule
from pipeline.config.settings import TrialSettings
from pipeline.config.transfer import AugmentationBlock, Auto, NoAugmentation, NoTransfer, Unfreeze


def phase_epochs(config: TrialSettings) -> tuple[int, ...]:
    """Returns the epochs of each phase of a training at most; each has a schedule of its own."""
    match config.transfer:
        case Unfreeze(frozen_epochs=frozen) if frozen > 0:
            return frozen, config.epochs - frozen
        case Auto(phase_epochs=phase):
            return (phase,)
        case _:
            return (config.epochs,)


def _transfer_needs_a_backbone(config: TrialSettings) -> str | None:
    if isinstance(config.transfer, NoTransfer) or isinstance(config.model, BackboneConfig):
        return None
    return (
        f"{config.transfer.kind} is about a backbone's layers, and model.kind is {config.model.kind}. "
        "Set model.kind: backbone, or transfer: none"
    )


def _unfreezing_leaves_epochs(config: TrialSettings) -> str | None:
    transfer = config.transfer
    if not isinstance(transfer, Unfreeze) or transfer.frozen_epochs < config.epochs:
        return None
    return (
        f"must be smaller than epochs, or nothing is ever unfrozen; got {transfer.frozen_epochs} of {config.epochs} "
        "epochs. Lower it, or set transfer: frozen"
    )


def _auto_has_several_phases(config: TrialSettings) -> str | None:
    transfer = config.transfer
    if not isinstance(transfer, Auto) or transfer.phase_epochs < config.epochs:
        return None
    return (
        f"must be smaller than epochs, which all phases share; got {transfer.phase_epochs} of {config.epochs} epochs. "
        "Lower it, or raise epochs"
    )


def _warmup_ends_before_a_phase_does(config: TrialSettings) -> str | None:
    warmup, shortest = config.schedule.warmup_epochs, min(phase_epochs(config))
    if warmup < shortest or shortest < 1:  # a phase without epochs breaks another rule
        return None
    whole = "the training of" if shortest == config.epochs else "each phase of the training, here"
    return f"the warm-up must be shorter than {whole} {shortest} epochs; got {warmup} epochs"


def _parts_of_a_batch_can_be_normalized(config: TrialSettings) -> str | None:
    if config.accumulation == 1 or config.batch_size >= 2 * config.accumulation:
        return None
    return (
        f"each part of a batch needs at least 2 images; got {config.accumulation} parts of {config.batch_size} images. "
        "Lower accumulation, or raise batch_size"
    )


def _batch_norm_needs_a_batch(config: TrialSettings) -> str | None:
    if config.batch_size > 1 or not config.model.uses_batch_norm:
        return None
    return "batch normalization needs at least 2 images in a batch; got 1. Raise batch_size, or set batch_norm: none"


def _views_hold_images(config: TrialSettings) -> str | None:
    augment = config.augment
    if config.feature_cache.views is None or not isinstance(augment, AugmentationBlock):
        return None
    names = [name for name in ("erase", "mixup", "cutmix") if getattr(augment, name) > 0.0]
    if not names:
        return None
    return (
        f"cached views hold windows, mirror images, color jitter and RandAugment; got {', '.join(names)}, which act on "
        f"a whole batch of prepared images. Set augment.{names[0]}: 0, or views: null"
    )


TRANSFER_RULES = (
    Rule(
        ("feature_cache.views", "augment.kind", "augment.erase", "augment.mixup", "augment.cutmix"), _views_hold_images
    ),
    Rule(("transfer.kind", "model.kind"), _transfer_needs_a_backbone),
    Rule(("transfer.frozen_epochs", "transfer.kind", "epochs"), _unfreezing_leaves_epochs),
    Rule(("transfer.phase_epochs", "transfer.kind", "epochs"), _auto_has_several_phases),
    Rule(
        (
            "schedule.warmup_epochs",
            "schedule.kind",
            "epochs",
            "transfer.frozen_epochs",
            "transfer.phase_epochs",
            "transfer.kind",
        ),
        _warmup_ends_before_a_phase_does,
    ),
    Rule(("accumulation", "batch_size"), _parts_of_a_batch_can_be_normalized),
    Rule(
        (
            "batch_size",
            "model.kind",
            *(
                f"model.{prefix}{name}"
                for prefix in ("", "head.")
                for name in ("batch_norm", "input_batch_norm", "hidden_layers")
            ),
        ),
        _batch_norm_needs_a_batch,
    ),
)


def _has_frozen_layers(config: TrialSettings) -> bool:
    return not isinstance(config.transfer, NoTransfer) and config.feature_cache.enabled


_CACHE_DEPENDS_ON = ("transfer.kind", "model.kind", "feature_cache.enabled")
TRANSFER_UNUSED_SETTING_RULES = (
    *(
        UnusedSettingRule(
            f"feature_cache.{name}", _CACHE_DEPENDS_ON, _has_frozen_layers, "set transfer: frozen (or unfreeze)"
        )
        for name in ("limit_gib", "dtype")
    ),
    UnusedSettingRule(
        "feature_cache.views",
        (*_CACHE_DEPENDS_ON, "augment.kind"),
        lambda config: _has_frozen_layers(config) and not isinstance(config.augment, NoAugmentation),
        "set augment: light (or another), on a backbone with frozen layers",
    ),
)
