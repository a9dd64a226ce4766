"""The chain of a schedule's run: check, prepare, worker, finalize, register, report, clean.

Each step takes the run and nothing else: what it needs of the steps before it is in the study's storage. So each may be
done in a process of its own, on any machine that shares the workspace, and done again.
"""

import dataclasses
import functools
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

from pipeline.config.study import StudyConfig
from pipeline.core.errors import StudyError
from pipeline.core.folders import use_workspace
from pipeline.scheduling.run import DATA, SCHEDULE, ScheduledRun, mark, studies_of
from pipeline.scheduling.warm_start import warm_start
from pipeline.storage.open import open_existing, open_storage, quiet_optuna, study_names
from pipeline.study.studies import METRICS, SPACE, create_or_resume, load_study
from pipeline.study.summary import best_of

if TYPE_CHECKING:
    from pipeline.workers.session import Watcher

Say = Callable[[str], None]
Step = Callable[[ScheduledRun, Say], dict[str, Any]]
# Opens, for a metric, what is told of trials and epochs.
Watch = Callable[[str], "AbstractContextManager[Watcher]"]


def check(run: ScheduledRun, say: Say) -> dict[str, Any]:
    """Proves that a run can work: space, data, device, storage, tracking store.

    Raises:
        DnntuneError: Something is wrong; says what.
    """
    from pipeline.scheduling.drift import data_facts
    from pipeline.setup.device import choose_device
    from pipeline.tracking.store import open_store

    file, places = run.file.space(), run.file.places
    for notice in file.notices:
        say(notice)
    quiet_optuna()
    use_workspace(places.workspace)
    open_storage(places.storage_url)
    open_store(places)
    choose_device(run.file.schedule.device)
    facts = data_facts(next(file.space.corners([])), places.data_dir)
    say(f"{file.name}: {len(file.space.parameters())} parameters, {facts['images']:,} images: ready")
    return {"space": file.name, "images": facts["images"]}


def prepare(run: ScheduledRun, say: Say) -> dict[str, Any]:
    """Makes the run's study, beginning with what the schedule's last studies have found; or finds it.

    A study keeps its space: where that has changed since the run was prepared first, a new study is made.

    Raises:
        DnntuneError: The space is wrong, or the data or the storage cannot be used.
    """
    from pipeline.scheduling.drift import data_facts, drift

    quiet_optuna()
    file, places, schedule = run.file.space(), run.file.places, run.file.schedule
    use_workspace(places.workspace)
    storage = open_storage(places.storage_url)
    earlier = studies_of(storage, run.file.name)
    taken = study_names(storage)
    for name in run.study_names():
        if name not in taken or load_study(storage, name).user_attrs.get(SPACE) == file.space.source:
            break
        say(f"study {name} searches another space: a study keeps its space, so that its trials compare")
    facts = data_facts(next(file.space.corners([])), places.data_dir)
    others = [study for study in reversed(earlier) if study.study_name != name]
    say(drift(facts, others[0].user_attrs[DATA] if others else None))
    settings = file.study
    if name in taken and METRICS in (study := load_study(storage, name)).user_attrs:
        begun = StudyConfig.model_validate(study.user_attrs["settings"])
        settings = settings.model_copy(update={"baselines": begun.baselines})
        say(f"study {name} is there already: it is gone on with")
    else:
        wanted = schedule.warm_start
        points, num_left_out = warm_start(file.space, others[: wanted.studies], wanted.configurations)
        settings = settings.model_copy(update={"baselines": (*points, *settings.baselines)})
        fit = f"{len(points)} configurations of earlier studies, and {num_left_out} of theirs do not fit its space"
        say(f"study {name} begins with {fit}")
    study = create_or_resume(storage, name, settings, file.space)
    if SCHEDULE not in study.user_attrs:
        mark(study, run, facts)
    return {"study": name, "baselines": len(settings.baselines)}


def worker(run: ScheduledRun, say: Say, *, workers: int = 1, watch: Watch | None = None) -> dict[str, Any]:
    """Runs trials of the run's study until it has them all, or the schedule's time is over.

    Args:
        run: The run.
        say: Is told in words what happens.
        workers: How many trials run at once.
        watch: Opens what is told of trials and epochs; None for nothing.

    Raises:
        DnntuneError: See `run_study`.
    """
    from pipeline.workers.run import join_study

    study = run.study()
    with nullcontext() if watch is None else watch(study.user_attrs[METRICS][0]) as watcher:
        summary = join_study(
            study.study_name,
            places=run.file.places,
            compute=dataclasses.replace(run.file.compute, workers=workers),
            watcher=watcher,
        )
    if summary.interrupted:
        raise KeyboardInterrupt
    return {"study": summary.study, "trials": summary.trials, "left": summary.num_left}


def finalize(run: ScheduledRun, say: Say) -> dict[str, Any]:
    """Trains the best configurations over fresh seeds, and measures the chosen one on the test set.

    Raises:
        DnntuneError: See `pipeline.finalize.run.finalize`.
    """
    from pipeline.finalize.run import Wanted
    from pipeline.finalize.run import finalize as finalize_study
    from pipeline.report.final_text import final_lines

    study, schedule = run.study(), run.file.schedule
    wanted = Wanted(schedule.finals.top, schedule.finals.seeds, schedule.finals.refit)
    done = finalize_study(
        study.study_name,
        places=run.file.places,
        wanted=wanted,
        compute=run.file.compute,
        say=say,
    )
    if done.final is None:
        raise KeyboardInterrupt
    for line in final_lines(done.final):
        say(line)
    return {"study": study.study_name, "trial": done.final.chosen.trial, "accuracy": done.final.plain.accuracy}


def register(run: ScheduledRun, say: Say) -> dict[str, Any]:
    """Lets the result challenge the champion, if the schedule names one.

    Raises:
        DnntuneError: See `pipeline.registration.study.register`.
    """
    from pipeline.registration.study import register as register_study
    from pipeline.registration.versions import outcome_lines

    schedule = run.file.schedule
    if schedule.champion is None:
        say("the schedule names no champion: nothing is registered")
        return {}
    done = register_study(
        run.study().study_name,
        model=schedule.champion,
        places=run.file.places,
        compute=run.file.compute,
    )
    for line in outcome_lines(done):
        say(line)
    return done.to_json()


def report(run: ScheduledRun, say: Say) -> dict[str, Any]:
    """Writes the study's report, and returns what a person wants to know of the run first.

    Raises:
        DnntuneError: It cannot be written.
    """
    from pipeline.finalize.final_file import load_final
    from pipeline.report.page import attach_report, write_report

    study, places = run.study(), run.file.places
    file = write_report(places, study.study_name, None)
    attach_report(places, study.study_name, file)
    say(f"report: {file}")
    best, final = best_of(study), load_final(places, study.study_name)
    measured = {} if final is None else {f"{final.part}_accuracy": final.plain.accuracy}
    value = {} if best is None else {"best_trial": best.number, f"best_{study.user_attrs[METRICS][0]}": best.value}
    return {"study": study.study_name, "report": str(file), **value, **measured}


def clean(run: ScheduledRun, say: Say) -> dict[str, Any]:
    """Removes what old studies have left, see `pipeline.scheduling.retention`."""
    from pipeline.scheduling.retention import remove_old

    quiet_optuna()
    schedule = run.file
    removed = remove_old(open_existing(schedule.places), schedule.name, schedule.places, schedule.schedule.retention)
    say(f"removed checkpoints and models of {len(removed.studies)} old studies: {removed.num_bytes / 2**20:.1f} MiB")
    return dataclasses.asdict(removed)


STEPS: dict[str, Step] = {
    "check": check,
    "prepare": prepare,
    "worker": worker,
    "finalize": finalize,
    "register": register,
    "report": report,
    "clean": clean,
}


def run_chain(run: ScheduledRun, say: Say, watch: Watch | None = None) -> dict[str, dict[str, Any]]:
    """Goes through all steps in this process, the worker step with all workers; what each has returned, by step.

    Raises:
        DnntuneError: Of the step that cannot be done; the steps before it are not done again by the next call.
    """
    results = {}
    for name, step in STEPS.items():
        say(f"--- {name}")
        if name == "worker":
            results[name] = worker(run, say, workers=run.file.schedule.workers, watch=watch)
        else:
            results[name] = step(run, say)
    return results


def step_of(name: str, watch: Watch | None = None) -> Step:
    """Returns a step.

    Args:
        name: Its name.
        watch: Opens what is told of trials and epochs, see `worker`.

    Raises:
        StudyError: There is none of this name.
    """
    if name not in STEPS:
        raise StudyError(f"a step is one of {', '.join(STEPS)}; got {name}")
    return functools.partial(worker, watch=watch) if name == "worker" else STEPS[name]
