"""Who may see the dashboard."""

from typing import Any

import pytest

from pipeline.storage.dashboard import for_this_machine


def status(**headers: str) -> str:
    said: list[str] = []

    def page(_environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        return []

    list(for_this_machine(page)(headers, lambda line, headers: said.append(line)))  # type: ignore[arg-type]
    return said[0]


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.1:8080", "localhost:9", "LOCALHOST"])
def test_this_machine_is_served(host: str) -> None:
    assert status(HTTP_HOST=host) == "200 OK"
    assert status(HTTP_HOST=host, HTTP_ORIGIN=f"http://{host}") == "200 OK"


@pytest.mark.parametrize(
    "host",
    ["", "evil.example", "evil.example:8080", "127.0.0.1.evil.example", "localhost@evil.example", "[", "10.0.0.1"],
)
def test_other_names_are_refused(host: str) -> None:
    assert status(HTTP_HOST=host) == "403 Forbidden"


@pytest.mark.parametrize("origin", ["null", "http://[", "http://evil.example", "http://localhost.evil.example:8080"])
def test_other_sites_are_refused(origin: str) -> None:
    assert status(HTTP_HOST="localhost:8080", HTTP_ORIGIN=origin) == "403 Forbidden"
