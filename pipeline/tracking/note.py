"""What a study's run says of itself on MLflow's page, in Markdown."""

import textwrap
from collections.abc import Iterator, Mapping, Sequence

from pipeline.config.metrics import Metric, direction
from pipeline.core.commands import command
from pipeline.core.printing import markdown, markdown_code
from pipeline.records.results import DataSummary
from pipeline.space.tree import SearchSpace

# MLflow's limit for a tag is 8,000 characters; a space may have any number of settings, and a choice of options.
MAX_SETTINGS = 30
MAX_OPTIONS = 120
# How the paragraph begins that says what was chosen.
CHOSEN = "Chosen by `dnntune finalize`:"
# How the sentence begins that names the best trial; where another configuration may be chosen, it is one trial's.
BEST, BEST_SINGLE = "Best:", "Best single trial:"


def study_note(
    study: str,
    *,
    space: SearchSpace | None,
    metrics: Sequence[Metric],
    data: DataSummary,
    totals: Mapping[str, float],
    best_trial: int | None,
    chosen: str | None = None,
    view: str,
    run: str,
) -> str:
    """Returns a study's description: what was searched and found, and where to go on.

    Args:
        study: Its name.
        space: What it searches; None if a function draws.
        metrics: What it optimizes.
        data: What it trains on.
        totals: Figures of the whole study, as its run has them.
        best_trial: Number of the best trial; None if none is complete.
        chosen: What `dnntune finalize` has chosen, see `chosen_text`; None if it has not.
        view: Address of the prepared comparison on the page, without the server.
        run: Address of the study's run, likewise.
    """
    aims = " and ".join(f"the {_aim(metric)} `{metric}`" for metric in metrics)
    images = f"{data.images_text}, {data.num_classes} classes"
    # Links first: the page shows some lines, and the rest on demand.
    links = (
        f"**[Compare the trials]({_link(view)})**",
        f"[report]({_link(run)}/artifacts/report.html) (after {markdown_code(command('report', study))})",
        *([] if best_trial is None else [f"[best configuration]({_link(run)}/artifacts/best_config.yaml)"]),
    )
    paragraphs = (
        f"{_found(metrics[0], totals, best_trial)} {', '.join(links)}.",
        f"It searches for {aims} on {markdown(data.name)} ({images}). Go on, in the study's workspace:",
        "\n".join(("```", *_commands(study, best_trial), "```")),
        markdown(f"{data.classes.text[:1].upper()}{data.classes.text[1:]}"),
        "" if space is None else "\n".join(_settings(space)),
    )
    note = "\n\n".join(paragraph for paragraph in paragraphs if paragraph)
    return note if chosen is None else with_chosen(note, chosen)


def chosen_text(trial: int, description: str) -> str:
    """Says what was chosen, of which trial, and what it is worth: the first thing that a finalized study says."""
    return f"{CHOSEN} **trial {trial}**, {description}."


def with_chosen(note: str, chosen: str) -> str:
    """Returns a study's description with what was chosen above it, in place of an earlier choice."""
    paragraphs = [paragraph for paragraph in note.split("\n\n") if not paragraph.startswith(CHOSEN)]
    if paragraphs[0].startswith(BEST):
        paragraphs[0] = BEST_SINGLE + paragraphs[0].removeprefix(BEST)
    return "\n\n".join([chosen, *paragraphs])


def _aim(metric: Metric) -> str:
    return "highest" if direction(metric) == "maximize" else "lowest"


def _link(path: str) -> str:
    """Returns a place on the page as a link from another one: MLflow may be served below some other path."""
    return path.removeprefix("/")


def _found(metric: Metric, totals: Mapping[str, float], best_trial: int | None) -> str:
    counts = {name.removeprefix("trials_"): int(count) for name, count in totals.items() if name.startswith("trials_")}
    trials = ", ".join(f"{count} {outcome}" for outcome, count in counts.items() if count) or "none has ended yet"
    if best_trial is None:
        return f"Trials: {trials}."
    return f"{BEST} **trial {best_trial}**, `{metric}` **{totals[f'best_{metric}']:.4f}**. Trials: {trials}."


def _commands(study: str, best_trial: int | None) -> Iterator[str]:
    yield command("leaderboard", study)
    if best_trial is not None:
        yield f"{command('best', study)} > best.yaml"
        yield "dnntune train best.yaml"


def _settings(space: SearchSpace) -> Iterator[str]:
    parameters = space.parameters()
    yield "| searched | drawn from |"
    yield "| --- | --- |"
    for parameter in parameters[:MAX_SETTINGS]:
        drawn_from = textwrap.shorten(str(parameter.distribution).replace(" | ", ", "), MAX_OPTIONS, placeholder=" ...")
        yield f"| {markdown(parameter.name)} | {markdown(drawn_from)} |"
    if len(parameters) > MAX_SETTINGS:
        yield f"| and {len(parameters) - MAX_SETTINGS} more | |"
