"""A study's final result: what its best configurations are worth, measured once when everything has been chosen."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from pipeline.config.trial import TrialConfig
from pipeline.core.compute import Compute
from pipeline.core.errors import StudyError, TrackingError
from pipeline.core.workspace import Workspace
from pipeline.evaluation.predictor import Predictor
from pipeline.finalize.final_file import load_final, save_final
from pipeline.finalize.finalists import (
    best_entries,
    cases_of,
    finalists,
    finals_name,
    refuse_folds,
    saved_finalists,
    saved_trials,
)
from pipeline.finalize.measurement import measure, select_final
from pipeline.finalize.refit import refit
from pipeline.records.final import Final
from pipeline.storage.internals import storage_of
from pipeline.study.attributes import METRICS
from pipeline.study.studies import open_study
from pipeline.study.summary import Chosen, StudySummary, set_chosen
from pipeline.workers.run import run_study
from pipeline.workers.session import StudyObserver, describe_chosen

Notify = Callable[[str], None]


@dataclass(frozen=True)
class Finalized:
    """What came of it: how the study of the finalists stands, and the result, if all of them are trained."""

    summary: StudySummary
    final: Final | None


@dataclass(frozen=True)
class FinalizeOptions:
    """What is asked for.

    Attributes:
        top: How many of the best configurations.
        num_seeds: Trainings of each.
        refit: Whether the chosen one is also trained on training and validation images together.
        mc_samples: Passes of Monte Carlo dropout.
    """

    top: int = 5
    num_seeds: int = 5
    refit: bool = False
    mc_samples: int = 20

    def are_met_by(self, final: Final, chosen: Iterable[int], finals: str) -> bool:
        """Returns whether a result has all of it: of the same trials, trained in the same study."""
        seeds = {len(finalist.values) for finalist in final.finalists}
        return (
            final.finals == finals
            and {finalist.trial for finalist in final.finalists} == set(chosen)
            and max(seeds) == self.num_seeds
            and (final.refit is not None or not self.refit)
            and (final.monte_carlo is None or final.monte_carlo_samples == self.mc_samples)
        )


def finalize(
    name: str,
    *,
    workspace: Workspace,
    options: FinalizeOptions,
    compute: Compute = Compute(),
    observer: StudyObserver | None = None,
    notify: Notify = lambda line: None,
) -> Finalized:
    """Trains a study's best configurations over fresh seeds, chooses by mean validation, and measures once.

    The trainings are a study of their own, which is resumed if it was interrupted. A result that is there already
    is returned as it is: a test set that is measured again and again becomes a validation set.

    Args:
        name: The study.
        workspace: Where it is kept.
        options: What is asked for.
        compute: What it runs on.
        observer: Is told what happens.
        notify: Is told what is being done after the trainings.

    Raises:
        DnntuneError: There is no such study, nothing in it is complete, or it cannot be trained; see `run_study`.
    """
    study = open_study(workspace, name, computes=True)
    entries = best_entries(study, options.top)
    refuse_folds(name, TrialConfig.model_validate(entries[0].config))
    cases, metric = cases_of(entries, options.num_seeds), study.user_attrs[METRICS][0]
    finals = finals_name(storage_of(study), name, cases)
    summary = run_study(
        cases,
        cases.settings(metric=metric, keeps_models=True),
        name=finals,
        workspace=workspace,
        compute=compute,
        observer=observer,
    )
    if summary.num_left:
        return Finalized(summary, None)
    before = load_final(workspace, name)
    if before is not None and options.are_met_by(before, (entry.number for entry in entries), finals):
        notify("the final result exists already, and is not measured again")
        return Finalized(summary, before)
    trained = open_study(workspace, finals)
    ranked = finalists(study, entries, trained)
    if ranked[0].mean is None:
        raise StudyError(f"no finalist of study {name} could be trained: all of them diverged. See dnntune ui")
    predictor = Predictor(compute, data_dir=workspace.data_dir)
    selection = select_final(
        ranked, saved_finalists(trained, workspace), saved_trials(study, workspace), metric=metric, predictor=predictor
    )
    notify(f"chosen by validation mean: trial {selection.finalist.trial}, its model is that of seed {selection.seed}")
    refitted = None
    if options.refit:
        refitted = refit(selection, trained, predictor, workspace, notify=notify)
    if (doubt := predictor.doubt_of_test(selection.model.config)) is not None:
        notify(doubt)
    notify("measuring once")
    final = measure(
        selection,
        refitted,
        predictor=predictor,
        study=name,
        metric=metric,
        finals=trained,
        mc_samples=options.mc_samples,
        times_measured=1 + (0 if before is None else before.times_measured),
    )
    save_final(workspace, final)
    found = final.chosen
    chosen = Chosen(found.trial, metric, found.values, {**found.config})
    set_chosen(study, chosen)
    try:
        describe_chosen(study, workspace, chosen)
    except TrackingError as error:  # the result itself is there
        notify(f"warning: MLflow does not show the chosen configuration: {error}")
    return Finalized(summary, final)
