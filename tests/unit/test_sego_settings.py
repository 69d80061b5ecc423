"""What a Sego server may be told to be: an address that keeps the key to itself, a key, paths; and its contract."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from claudetm.adapters.sources.sego.settings import Paths, SegoSettings, check_address, paths_of
from claudetm.errors import ConfigError
from generate_docs import DOCS
from sego_contract import FILE, answered_wrongly, asked_wrongly, document, operations

KEY = "key-4711"


@pytest.mark.parametrize(
    "address",
    [
        "https://sego.pm",
        "https://sego.example/below/",
        "http://localhost:8417",
        "http://127.0.0.1",
        "http://127.8.9.1:80",
        "http://[::1]:80",
    ],
)
def test_an_address_that_keeps_the_key_to_itself(address: str) -> None:
    assert check_address(address) == address.rstrip("/")


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("http://sego.pm", "carry the API key over the network unencrypted: use https"),
        ("http://localhost.example.com", "unencrypted"),
        ("http://127.0.0.1.example.com", "unencrypted"),
        ("http://10.0.0.1", "unencrypted"),
        ("ftp://sego.pm", "is no address"),
        ("sego.pm", "is no address"),
        ("https://", "is no address"),
        ("https://sego.pm:port", "is no address"),
        ("https://[::1", "is no address"),
        ("https://sego .pm", "is no address"),
        ("http://[::1].example.com", "is no address"),
        ("http://[::1%25eth0]", "is no address"),
        ("http://[::1]example.com:80", "is no address"),
        ("http://localhost@example.com", "holds more than the address"),
        ("http://[::1]@example.com", "holds more than the address"),
        ("http://127.0.0.1\\@example.com", "holds more than the address"),
        ("http://127.0.0.1\\.example.com", "is no address"),
        ("http://localhost%2eexample.com", "is no address"),
        ("http://ⓛocalhost", "unencrypted"),
        ("http://127。0。0。1", "unencrypted"),
        ("http://127.1", "unencrypted"),
        ("https://ada:a/secret@sego.pm", "is no address"),
        ("https://sego.pm/?", "holds more than the address"),
        ("https://sego.pm/#", "holds more than the address"),
        ("https://ada:secret@sego.pm", "holds more than the address"),
        ("https://sego.pm?key=1", "holds more than the address"),
        ("https://sego.pm#a", "holds more than the address"),
    ],
)
def test_another_address_is_refused(address: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why) as refused:
        check_address(address)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("key", ["", "two words", "line\n", "smart“quote", "tab\t"])
def test_what_cannot_be_a_key_is_refused_and_never_repeated(key: str) -> None:
    with pytest.raises(ConfigError, match="copy it again") as refused:
        SegoSettings(key=key)
    assert not key or key not in str(refused.value)


def test_the_key_is_in_no_representation() -> None:
    assert KEY not in repr(SegoSettings(key=KEY))


@pytest.mark.parametrize("project", ["..", ".", "a\nb"])
def test_a_project_that_no_address_can_hold_is_refused(project: str) -> None:
    with pytest.raises(ConfigError, match="project's id"):
        SegoSettings(key=KEY, project=project)


def test_paths_are_named_one_by_one() -> None:
    assert paths_of({"task": "/v2/task/{task}"}) == Paths(task="/v2/task/{task}")


@pytest.mark.parametrize(
    ("name", "path", "why"),
    [
        ("tusks", "/tasks", "Sego has no path 'tusks'; there are key, projects"),
        ("task", "/tasks", "The path task of Sego is '/tasks'; write it like /api/mcp/tasks/{task}"),
        ("task", "/tasks/{tusk}", "write it like"),
        ("tasks", "/tasks/{task}", "write it like"),
        ("tasks", "tasks", "write it like"),
        ("tasks", "/tasks?all", "write it like"),
        ("tasks", "//elsewhere.example/tasks", "write it like"),
        ("tasks", "/tasks/{", "write it like"),
    ],
)
def test_a_path_that_cannot_be_one_is_refused(name: str, path: str, why: str) -> None:
    with pytest.raises(ConfigError) as refused:
        paths_of({name: path})
    assert why in str(refused.value)


# --- the contract ------------------------------------------------------------------------------------------------


def test_the_page_holds_the_contract_that_ships() -> None:
    page = (DOCS / "sego-api.md").read_text(encoding="utf-8")
    assert f"```yaml\n{FILE.read_text(encoding='utf-8').strip()}\n```" in page


def test_each_operation_says_whether_it_is_public_and_two_are() -> None:
    told = {(method, path): operation["x-claudetm-status"] for method, path, operation in operations()}
    assert set(told.values()) == {"public", "assumed"}
    assert {o for o, status in told.items() if status == "public"} == {
        ("GET", "/api/mcp/tasks"),
        ("PATCH", "/api/mcp/projects/{project}/auto-task"),
    }


def test_the_contract_has_the_paths_that_are_asked_for_and_no_others() -> None:
    assert {str(f.default) for f in fields(Paths)} == set(document()["paths"])


def test_every_schema_is_one() -> None:
    assert document()["openapi"].startswith("3.1")
    for schema in document()["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)
    ids = [operation["operationId"] for _, _, operation in operations()]
    assert len(ids) == len(set(ids))


GOOD = {"authorization": "Bearer x"}


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        (("GET", "/api/mcp/tusks", "", GOOD, b""), "is no operation"),
        (("GET", "/api/mcp/tasks", "colour=red", GOOD, b""), "the query has 'colour'"),
        (("GET", "/api/mcp/tasks", "status=LATER", GOOD, b""), "status"),
        (("GET", "/api/mcp/tasks", "limit=101", GOOD, b""), "limit"),
        (("GET", "/api/mcp/tasks", "", {}, b""), "no bearer key"),
        (("GET", "/api/mcp/tasks", "", {**GOOD, "x-secret": "1"}, b""), "the header x-secret"),
        (("GET", "/api/mcp/tasks", "", GOOD, b"{}"), "a body"),
        (("PATCH", "/api/mcp/tasks/1", "", GOOD, b'{"status": "BACKLOG", "x": 1}'), "'x' was unexpected"),
        (("POST", "/api/mcp/tasks/1/comments", "", GOOD, b"{}"), "'text' is a required property"),
    ],
)
def test_a_request_beside_the_contract_would_be_found(asked: Any, why: str) -> None:
    assert why in " ".join(asked_wrongly(*asked))


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ((302, "application/json", b"{}"), "is not named"),
        ((200, "text/html", b""), "text/html"),
        ((200, "application/json", b"[]"), "is not of type 'object'"),
        ((200, "application/json", b'{"tasks": [{"id": "1"}]}'), "'projectId' is a required property"),
        ((200, "application/json", b'{"tasks": [], "x": 1}'), "'x' was unexpected"),
        ((404, "application/json", b"{}"), "'error' is a required property"),
    ],
)
def test_an_answer_beside_the_contract_would_be_found(answer: Any, why: str) -> None:
    assert why in " ".join(answered_wrongly("GET", "/api/mcp/tasks", *answer))
