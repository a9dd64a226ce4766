"""Addresses that are shown masked."""

import copy
import dataclasses
import json
import pickle
import re
from pathlib import Path

import pytest
import sqlalchemy
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.stores.urls import StoreUrl, hide, mask
from pipeline.core.workspace import Workspace, store_url

PIPELINE = Path(__file__).parents[3] / "pipeline"
# Where a connection is opened, an address is put into a child's environment, or SQLAlchemy reads it.
OPENS = {
    "core/stores/schema_lock.py",
    "core/stores/store_urls.py",
    "tracking/ui/page.py",
    "registration/registry.py",
    "tracking/store.py",
}


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("postgresql+psycopg://me:s3cr3t@h:5/db", "postgresql+psycopg://me:***@h:5/db"),
        ("postgresql://me@h/db?password=s3cr3t&a=1", "postgresql://me@h/db?password=***&a=1"),
        ("postgresql://h/db?pass%77ord=s3cr3t", "postgresql://h/db?pass%77ord=***"),
        ("postgresql://h/db?a=1&password=s3cr3t;x", "postgresql://h/db?a=1&password=***"),
        ("https://h/?a=1;password=s3cr3t", "https://h/?a=***"),
        ("mssql://h?odbc_connect=DRIVER%3Dx%3BPWD%3Ds3cr3t", "mssql://h?odbc_connect=***"),
        ("http://h/?access_token=s3cr3t", "http://h/?access_token=***"),
        ("http://h/#token=s3cr3t", "http://h/#token=***"),
        ("http://me:s3@cr3t@h/x", "http://me:***@h/x"),
        ("mysql://me:s3/c?r#3t@h/db?x=1", "mysql://me:***@h/db?x=1"),
        ("https://s3cr3t@h/x", "https://***@h/x"),
        ("postgresql://:s3cr3t@h/db", "postgresql://:***@h/db"),
        ("postgresql//me:s3cr3t@h/db", "postgresql//me:***@h/db"),
        ("me:s3cr3t@h/db", "me:***@h/db"),
        ("postgresql://me@h:5/db?x=a@b", "postgresql://me@h:5/db?x=a@b"),
        ("sqlite:////a/b:c@d/studies.db", "sqlite:////a/b:c@d/studies.db"),
        ("sqlite://", "sqlite://"),
        ("", ""),
    ],
)
def test_an_address_is_shown_masked(address: str, shown: str) -> None:
    url = StoreUrl(address)
    for text in (str(url), f"{url}", f"{url:s}", "%s" % url, "" + url, json.loads(json.dumps(url))):  # noqa: UP031
        assert text == shown
    assert repr(url) == repr(shown)
    assert url.reveal() == address
    assert url.has_secret == (address != shown)
    for again in (StoreUrl(url), copy.deepcopy(url), pickle.loads(pickle.dumps(url))):
        assert (str(again), again.reveal()) == (shown, address)


@given(st.text(min_size=1), st.text(min_size=1))
def test_no_password_that_sqlalchemy_reads_is_shown(user: str, password: str) -> None:
    marked = f"MARK{password}MARK"
    made = sqlalchemy.URL.create("postgresql", user, marked, "h", 5, "db")
    for address in (made, made.set(password=None).update_query_dict({"password": marked})):
        url = StoreUrl(address.render_as_string(hide_password=False))
        assert "MARK" not in url
        read = sqlalchemy.make_url(url.reveal())
        assert marked in (read.password, read.query.get("password"))


def test_places_show_no_secret(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path, StoreUrl("postgresql://me:s3cr3t@h/db"), StoreUrl("http://me:s3cr3t@h"))
    assert "s3cr3t" not in repr(workspace) + json.dumps(dataclasses.asdict(workspace), default=str)
    assert workspace.storage_url.reveal() == "postgresql://me:s3cr3t@h/db"
    assert workspace.tracking_url.reveal() == "http://me:s3cr3t@h"


def test_a_secret_is_hidden_in_any_text() -> None:
    StoreUrl("postgresql://me:pa%20ss/w%C3%B6rd@h/db?sslpassword=zq")
    text = (
        "of 'pa ss/wörd' or pa%20ss/w%C3%B6rd or pa+ss%2Fw%C3%B6rd and zq, not zqa; postgresql://you:other@i/db?token=1"
    )
    assert hide(text) == "of '***' or *** or *** and ***, not zqa; postgresql://you:***@i/db?token=***"


def test_the_environment_stands_in_for_an_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("B", "postgresql://me:s3cr3t@h/db")
    found = store_url(None, ("A", "B"))
    assert found is not None
    assert found.has_secret
    assert store_url("sqlite://", ("A", "B")) == "sqlite://"
    assert store_url(None, ("A",)) is None


def test_secrets_are_revealed_where_a_connection_is_opened_alone() -> None:
    users = {
        str(file.relative_to(PIPELINE)) for file in PIPELINE.rglob("*.py") if re.search(r"\.reveal\(", file.read_text())
    }
    assert users == OPENS


@pytest.mark.parametrize("name", ["key", "api_key", "apikey", "accessKey", "AccountKey", "x-key"])
def test_a_key_is_a_secret(name: str) -> None:
    assert mask(f"https://host/path?{name}=s3cret") == f"https://host/path?{name}=***"


def test_a_link_to_a_prepared_view_is_none() -> None:
    link = "http://127.0.0.1:5000/#/experiments/1/runs?workflowType=machine_learning&viewStateShareKey=1f2e"
    assert hide(link) == link
