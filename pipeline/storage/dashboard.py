"""Optuna's dashboard on the study storage: history, importance, slices and contours, while a study runs too."""

from collections.abc import Callable, Iterable
from socketserver import ThreadingMixIn
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from optuna.storages import BaseStorage

from pipeline.core.errors import StudyError
from pipeline.core.processes.ports import HOST, check_port, is_own_name
from pipeline.core.quiet import quiet
from pipeline.core.workspace import Workspace
from pipeline.storage.open import open_existing

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment


def serve_dashboard(workspace: Workspace, port: int, notify: Callable[[str], None]) -> None:
    """Serves the dashboard until Ctrl-C.

    The storage is opened as for a study: a database that restarts is waited for.

    Args:
        workspace: Which storage.
        port: Port on this machine.
        notify: Prints a line.

    Raises:
        StudyError: There is no storage yet, it cannot be opened, or optuna-dashboard is not installed.
        PortError: The port cannot be used.
    """
    try:
        from optuna_dashboard import wsgi  # type: ignore[import-untyped]
    except ImportError:
        raise StudyError("the dashboard needs optuna-dashboard: pip install 'dnntune[dashboard]'") from None

    check_port(port)
    with quiet("optuna"), _server(workspace, port, wsgi) as server:
        notify(f"serving http://{HOST}:{port}/dashboard (Ctrl-C ends it)")
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            return


def _server(workspace: Workspace, port: int, wsgi: Callable[[BaseStorage], Any]) -> WSGIServer:
    page = for_this_machine(wsgi(open_existing(workspace)))
    return make_server(HOST, port, page, server_class=_Server, handler_class=_Silent)


def for_this_machine(page: "WSGIApplication") -> "WSGIApplication":
    """Returns a page that refuses whoever came by another name than this machine's, or from another site."""

    def checked(environ: "WSGIEnvironment", start_response: "StartResponse") -> "Iterable[bytes]":
        origin = environ.get("HTTP_ORIGIN")
        if is_own_name(environ.get("HTTP_HOST", "")) and (origin is None or is_own_name(origin.rpartition("/")[2])):
            return page(environ, start_response)
        start_response("403 Forbidden", [("Content-Type", "text/plain; charset=utf-8")])
        return [b"This page is for this machine only: open it as http://127.0.0.1 or http://localhost"]

    return checked


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True  # a browser's open connection does not hold up the end


class _Silent(WSGIRequestHandler):
    def log_message(self, *args: object) -> None:
        """Says nothing: by itself it prints each request."""
