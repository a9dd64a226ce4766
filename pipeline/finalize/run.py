"""A study's final result: what its best configurations are worth, measured once when everything has been chosen."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from pipeline.core.compute import Compute
from pipeline.core.errors import StudyError, TrackingError
from pipeline.core.workspace import Places
from pipeline.evaluation.predictor import ModelBench
from pipeline.finalize.final_file import load_final, save_final
from pipeline.finalize.finalists import best_entries, cases_of, finalists, finals_name, kept_finals, kept_trials
from pipeline.finalize.measurement import choose, measure
from pipeline.finalize.refit import refit
from pipeline.records.final import Final
from pipeline.storage.internals import storage_of
from pipeline.study.studies import METRICS, open_study
from pipeline.study.summary import Chosen, StudySummary, set_chosen
from pipeline.workers.run import run_study
from pipeline.workers.session import Watcher, describe_chosen

Say = Callable[[str], None]


@dataclass(frozen=True)
class Finalized:
    """What came of it: how the study of the finalists stands, and the result, if all of them are trained."""

    summary: StudySummary
    final: Final | None


@dataclass(frozen=True)
class Wanted:
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

    def is_in(self, final: Final, chosen: Iterable[int], finals: str) -> bool:
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
    places: Places,
    wanted: Wanted,
    compute: Compute = Compute(),
    watcher: Watcher | None = None,
    say: Say = lambda line: None,
) -> Finalized:
    """Trains a study's best configurations over fresh seeds, chooses by mean validation, and measures once.

    The trainings are a study of their own, which is gone on with if it was interrupted. A result that is there already
    is returned as it is: a test set that is measured again and again becomes a validation set.

    Args:
        name: The study.
        places: Where it is kept.
        wanted: What is asked for.
        compute: What it runs on.
        watcher: Is told what happens.
        say: Is told what is being done after the trainings.

    Raises:
        DnntuneError: There is no such study, nothing in it is complete, or it cannot be trained; see `run_study`.
    """
    study = open_study(places, name)
    entries = best_entries(study, wanted.top)
    cases, metric = cases_of(entries, wanted.num_seeds), study.user_attrs[METRICS][0]
    finals = finals_name(storage_of(study), name, cases)
    summary = run_study(
        cases,
        cases.settings(metric=metric, keeps_models=True),
        name=finals,
        places=places,
        compute=compute,
        watcher=watcher,
    )
    if summary.num_left:
        return Finalized(summary, None)
    before = load_final(places, name)
    if before is not None and wanted.is_in(before, (entry.number for entry in entries), finals):
        say("the final result is there already, and is not measured again")
        return Finalized(summary, before)
    trained = open_study(places, finals)
    ranked = finalists(study, entries, trained)
    if ranked[0].mean is None:
        raise StudyError(f"no finalist of study {name} could be trained: all of them diverged. See dnntune ui")
    bench = ModelBench(compute, data_dir=places.data_dir)
    choice = choose(ranked, kept_finals(trained, places), kept_trials(study, places), metric=metric, bench=bench)
    say(f"chosen by mean validation: trial {choice.finalist.trial}, its model of seed {choice.seed}")
    refitted = None
    if wanted.refit:
        refitted = refit(choice, trained, bench, places, say=say)
    if (doubt := bench.doubt_of_test(choice.model.config)) is not None:
        say(doubt)
    say("measuring once")
    final = measure(
        choice,
        refitted,
        bench=bench,
        study=name,
        metric=metric,
        finals=trained,
        mc_samples=wanted.mc_samples,
        times_measured=1 + (0 if before is None else before.times_measured),
    )
    save_final(places, final)
    found = final.chosen
    chosen = Chosen(found.trial, metric, found.values, {**found.config})
    set_chosen(study, chosen)
    try:
        describe_chosen(study, places, chosen)
    except TrackingError as error:  # the result itself is there
        say(f"warning: MLflow does not say what was chosen: {error}")
    return Finalized(summary, final)
