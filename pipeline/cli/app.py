"""The command line: words, and nothing else. What a command needs is imported when it runs, so that help is instant."""

from typing import Annotated

import typer

from pipeline import __version__
from pipeline.cli import auto, configurations, running, studies  # help has the commands in the order of these imports

# isort: split
from pipeline.cli import evidence, kinds, pages, predict, register, report, results, schedule
from pipeline.cli.error_handling import flush, report_error
from pipeline.cli.options import app
from pipeline.core.errors import DnntuneError
from pipeline.core.printing import print_line
from pipeline.core.processes.interrupts import answered

__all__ = [
    "app",
    "auto",
    "configurations",
    "evidence",
    "kinds",
    "main",
    "pages",
    "predict",
    "register",
    "report",
    "results",
    "running",
    "schedule",
    "studies",
]


@app.callback(invoke_without_command=True)
def version(show: Annotated[bool, typer.Option("--version", help="Print the version and end.")] = False) -> None:
    """Tune image classifiers with Optuna and PyTorch; every trial in MLflow."""
    if show:
        print_line(f"dnntune {__version__}")
        raise typer.Exit


def main() -> None:
    """Runs the command line; whatever happens ends it with a message and a code, and without a traceback."""
    code: int | str | None = 0
    with answered(ends=True) as interrupts:
        try:
            app()
        except DnntuneError as error:
            print_line(f"dnntune: {error}", err=True)
            code = error.exit_code
        except KeyboardInterrupt:
            code = interrupts.exit_code
        except SystemExit as end:  # typer's, at every command's end; it has the code of Ctrl-C for SIGTERM, too
            code = interrupts.exit_code if end.code == 130 else end.code
        except Exception as error:
            code = report_error(error)
        code = flush() or code
    interrupts.end(code)
