"""Optuna's dashboard on the study storage: history, importance, slices and contours, while a study runs too."""

from collections.abc import Callable
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from optuna.storages import BaseStorage

from pipeline.errors import StudyError
from pipeline.places import Places
from pipeline.ports import HOST, check_port
from pipeline.quiet import quiet
from pipeline.study.storage import open_existing


def serve_dashboard(places: Places, port: int, say: Callable[[str], None]) -> None:
    """Serves the dashboard until Ctrl-C.

    The storage is opened as for a study: a database that restarts is waited for.

    Args:
        places: Which storage.
        port: Port on this machine.
        say: Prints a line.

    Raises:
        StudyError: There is no storage yet, it cannot be opened, or optuna-dashboard is not installed.
        PortError: The port cannot be used.
    """
    try:
        from optuna_dashboard import wsgi  # type: ignore[import-untyped]
    except ImportError:
        raise StudyError("the dashboard needs optuna-dashboard: pip install 'dnntune[dashboard]'") from None

    check_port(port)
    with quiet("optuna"), _server(places, port, wsgi) as server:
        say(f"serving http://{HOST}:{port}/dashboard (Ctrl-C ends it)")
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            return


def _server(places: Places, port: int, wsgi: Callable[[BaseStorage], Any]) -> WSGIServer:
    return make_server(HOST, port, wsgi(open_existing(places)), server_class=_Server, handler_class=_Silent)


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True  # a browser's open connection does not hold up the end


class _Silent(WSGIRequestHandler):
    def log_message(self, *args: object) -> None:
        """Says nothing: by itself it prints each request."""
