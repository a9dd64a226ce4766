"""Rules that span several settings: what cannot work together, and what would have no effect.

A rule names the settings it looks at; `pipeline.space.files` then proves it for a whole search space by trying the
extremes of just those, instead of hoping that a sample runs into it.
"""

from pipeline.config.rules.data import DATA_RULES, DATA_UNUSED_SETTING_RULES
from pipeline.config.rules.layers import LAYER_RULES, LAYER_UNUSED_SETTING_RULES
from pipeline.config.rules.rule import Rule, UnusedSettingRule
from pipeline.config.rules.transfer import TRANSFER_RULES, TRANSFER_UNUSED_SETTING_RULES
from pipeline.config.settings import TrialSettings
from pipeline.config.training import Performance, Piecewise, Sgd


def broken_rules(config: TrialSettings) -> list[tuple[str, str]]:
    """Returns (path, message) for every rule that a configuration breaks."""
    return [(rule.paths[0], message) for rule in RULES if (message := rule.broken(config)) is not None]


def _nesterov_needs_momentum(config: TrialSettings) -> str | None:
    optimizer = config.optimizer
    if not isinstance(optimizer, Sgd) or not optimizer.nesterov or optimizer.momentum > 0.0:
        return None
    return "Nesterov's gradient needs momentum above 0; got momentum 0. Set momentum, or nesterov: false"


def _early_stopping_outwaits_the_schedule(config: TrialSettings) -> str | None:
    schedule, patience = config.schedule, config.early_stopping.patience
    if not isinstance(schedule, Performance) or patience is None or patience > schedule.patience:
        return None
    return (
        f"must be larger than schedule.patience, or training ends before the reduced rate is ever used; got "
        f"{patience} with schedule.patience {schedule.patience}. Raise it above {schedule.patience}"
    )


def _piecewise_boundaries_ascend(config: TrialSettings) -> str | None:
    schedule = config.schedule
    if not isinstance(schedule, Piecewise):
        return None
    if len(schedule.boundaries) != len(schedule.factors):
        return (
            f"needs one factor for each boundary; got {len(schedule.boundaries)} boundaries and "
            f"{len(schedule.factors)} factors"
        )
    if list(schedule.boundaries) != sorted(set(schedule.boundaries)):
        return f"boundaries ascend; got {list(schedule.boundaries)}"
    return None


def _folds_take_all_images(config: TrialSettings) -> str | None:
    data = config.data
    if data.num_folds == 1 or data.max_train_images is None:
        return None
    return (
        f"folds use every training image, so that each is validated on once; got max_train_images "
        f"{data.max_train_images:,} with folds {data.folds}. Leave one of them out"
    )


RULES = (
    *LAYER_RULES,
    *TRANSFER_RULES,
    *DATA_RULES,
    Rule(("optimizer.nesterov", "optimizer.momentum", "optimizer.kind"), _nesterov_needs_momentum),
    Rule(("early_stopping.patience", "schedule.patience", "schedule.kind"), _early_stopping_outwaits_the_schedule),
    Rule(("schedule.boundaries", "schedule.factors", "schedule.kind"), _piecewise_boundaries_ascend),
    Rule(("data.folds", "data.max_train_images"), _folds_take_all_images),
)


UNUSED_SETTING_RULES = (
    *LAYER_UNUSED_SETTING_RULES,
    *TRANSFER_UNUSED_SETTING_RULES,
    *DATA_UNUSED_SETTING_RULES,
    UnusedSettingRule(
        "loss.class_weights",
        ("loss.class_weights", "loss.kind", "data.sampling"),
        lambda config: config.loss.class_weights != "balanced" or config.data.sampling != "balanced",
        "set data.sampling: natural; where classes are drawn equally often, balanced weights are all 1",
    ),
    UnusedSettingRule(
        "data.valid_fraction",
        ("data.folds",),
        lambda config: config.data.num_folds == 1,
        "with data.folds each fold is validated on in its turn: leave data.folds out",
    ),
)
