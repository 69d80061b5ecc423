"""The transport to GitHub's API, against a real server on a loopback socket that plays a script."""

from __future__ import annotations

import json
import logging
import threading
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from claudetm import __version__
from claudetm.adapters.forge.github.client import GithubClient, GithubRefused, NotFound, Unanswered, Unauthorised
from claudetm.adapters.forge.github.client import graphql_url as graphql_address
from claudetm.adapters.forge.github.file import FileUnsafe, last_bytes
from claudetm.adapters.forge.github.limits import hour
from claudetm.adapters.forge.github.refusals import TooMuch
from claudetm.errors import ForgeBusy, ForgeError
from claudetm.redact import redact

TOKEN = "a-token-that-has-no-known-form-0123456789"
PULL = "/repos/acme/widgets/pulls/3"
SECONDARY = {"message": "You have exceeded a secondary rate limit. Please wait a few minutes before you try again."}
PRIMARY = {"message": "API rate limit exceeded for user ID 1."}


@dataclass(frozen=True)
class Reply:
    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    lost: bool = False  # the connection ends in place of an answer
    short: int = 0  # so many bytes of the body are never sent
    late: bool = False  # nothing comes until the server ends

    def wire(self) -> bytes:
        data = (
            self.body
            if isinstance(self.body, bytes)
            else json.dumps(self.body).encode()
            if self.body is not None
            else b""
        )
        headers = {"Content-Type": "application/json; charset=utf-8", "Content-Length": str(len(data))} | self.headers
        head = "".join(f"{k}: {v}\r\n" for k, v in headers.items())
        return f"HTTP/1.1 {self.status} Scripted\r\n{head}\r\n".encode() + data[: len(data) - self.short]


@dataclass(frozen=True)
class Asked:
    verb: str
    path: str
    headers: dict[str, str]
    body: Any


class Script:
    """What the server answers, in this order, and what it was asked."""

    def __init__(self) -> None:
        self.replies: list[Reply | Callable[[Asked], Reply]] = []
        self.asked: list[Asked] = []
        self.over = threading.Event()
        self.url = ""

    def says(self, *replies: Reply | Callable[[Asked], Reply]) -> None:
        self.replies += replies

    def answer(self, asked: Asked) -> Reply:
        self.asked.append(asked)
        assert self.replies, f"{asked.verb} {asked.path} was not foreseen"
        reply = self.replies.pop(0)
        return reply if isinstance(reply, Reply) else reply(asked)

    @property
    def paths(self) -> list[str]:
        return [f"{a.verb} {a.path}" for a in self.asked]


class Clock:
    def __init__(self) -> None:
        self.now = 1_800_000_000.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


def serve(script: Script) -> Iterator[Script]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _play(self) -> None:
            data = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            body = json.loads(data) if data else None
            headers = {k.lower(): v for k, v in self.headers.items()}
            reply = script.answer(Asked(self.command, self.path, headers, body))
            if reply.late:
                script.over.wait()
            if not (reply.lost or reply.late):
                self.wfile.write(reply.wire())
            self.close_connection = reply.lost or reply.late or bool(reply.short)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _play  # noqa: N815 - the standard library's names

        def log_message(self, *_args: object) -> None:
            """Keep the tests' output free of it."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    script.url = f"http://127.0.0.1:{server.server_port}"
    yield script
    script.over.set()
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def github() -> Iterator[Script]:
    yield from serve(Script())


@pytest.fixture
def elsewhere() -> Iterator[Script]:
    yield from serve(Script())


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def client(github: Script, clock: Clock) -> GithubClient:
    return GithubClient(f"{github.url}/api/v3", TOKEN, clock=clock, sleep=clock.sleep)


def limits(remaining: int, clock: Clock, resource: str = "core", limit: int = 5000) -> dict[str, str]:
    return {
        "X-RateLimit-Remaining": str(remaining),
        "X-RateLimit-Limit": str(limit),
        "X-RateLimit-Reset": str(int(clock.now + 600)),
        "X-RateLimit-Resource": resource,
    }


# --- a read ------------------------------------------------------------------------------------------------------


def test_a_read_carries_the_token_the_version_and_who_asks(github: Script, client: GithubClient) -> None:
    github.says(Reply(body={"number": 3}))
    assert client.get(PULL, head="octo:fix", draft=True, page=None) == {"number": 3}
    (asked,) = github.asked
    assert asked.path == f"/api/v3{PULL}?draft=true&head=octo%3Afix"
    assert asked.headers["authorization"] == f"token {TOKEN}"
    assert asked.headers["x-github-api-version"] == "2022-11-28"
    assert asked.headers["accept"] == "application/vnd.github+json"
    assert asked.headers["user-agent"] == f"claudetm/{__version__}"


@pytest.mark.parametrize(
    "failure",
    [
        Reply(lost=True),
        Reply(502, b"<html>Bad gateway</html>", {"Content-Type": "text/html"}),
        Reply(404, b"<html>Not this way</html>", {"Content-Type": "text/html; charset=utf-8"}),
        Reply(503, {"message": "Service unavailable"}),
        Reply(200, {"number": 3}, short=4),
        Reply(200, b'{"number": '),
        Reply(200, b"<html>Log in to the hotel</html>", {"Content-Type": "text/html"}),
        Reply(408, {"message": "Too slow"}),
        Reply(202, {}),
    ],
    ids=["lost", "502 page", "404 page", "503", "short", "broken", "portal", "408", "202"],
)
def test_a_read_without_an_answer_is_repeated(
    failure: Reply, github: Script, client: GithubClient, clock: Clock
) -> None:
    github.says(failure, failure, Reply(body={"number": 3}))
    assert client.get(PULL) == {"number": 3}
    assert len(github.asked) == 3
    first, second = clock.slept
    assert 0 < first < second + 1.5


def test_a_read_that_stays_without_an_answer_is_put_off_longer_each_time(
    github: Script, client: GithubClient, clock: Clock
) -> None:
    github.says(*[Reply(502, b"<html>", {"Content-Type": "text/html"})] * 100)
    waits = []
    for _ in range(7):
        began = clock.now
        with pytest.raises(ForgeBusy) as caught:
            client.get(PULL)
        assert isinstance(caught.value, TooMuch)
        assert clock.now - began <= 20
        waits.append(round(caught.value.until - clock.now))
        clock.now = caught.value.until
    assert waits == [15, 30, 60, 120, 240, 300, 300]
    assert str(caught.value) == (
        "127.0.0.1 gives no answer (it answered 502 with a web page): it is asked again at "
        f"{hour(caught.value.until)}"
    )
    github.replies = [Reply(body={}), *[Reply(500)] * 20]
    client.get(PULL)
    with pytest.raises(ForgeBusy) as caught:
        client.get(PULL)
    assert caught.value.until == clock.now + 15  # an answer ends the growth


def test_an_answer_is_read_as_utf_8_whatever_it_calls_itself(github: Script, client: GithubClient) -> None:
    github.says(Reply(body='{"title": "Über"}'.encode(), headers={"Content-Type": "text/plain"}))
    assert client.get(PULL) == {"title": "Über"}


def test_this_machine_is_asked_past_a_proxy(
    github: Script, elsewhere: Script, client: GithubClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    github.says(Reply(302, headers={"Location": f"{elsewhere.url}/log"}))
    elsewhere.says(Reply(body=b"x"))
    assert client.blob("/log", 10) == b"x"


def test_an_answer_that_does_not_come_in_time_is_none(github: Script, clock: Clock) -> None:
    client = GithubClient(f"{github.url}/api/v3", TOKEN, patience=0.05, clock=clock, sleep=clock.sleep)
    github.says(Reply(late=True))
    with pytest.raises(TooMuch, match="did not answer in time"):
        client.get(PULL)


def test_a_host_that_cannot_be_connected_to_is_asked_again(clock: Clock) -> None:
    client = GithubClient("http://127.0.0.1:1/api/v3", TOKEN, clock=clock, sleep=clock.sleep)
    with pytest.raises(ForgeBusy, match="cannot be connected to") as caught:
        client.get(PULL)
    assert not isinstance(caught.value, TooMuch)  # it was not asked: a smaller question helps nothing
    assert len(clock.slept) > 2


def test_a_read_that_did_not_change_is_answered_from_memory(github: Script, client: GithubClient) -> None:
    tag = {"ETag": 'W/"abc"'}
    github.says(Reply(body={"number": 3}, headers=tag), Reply(304, headers=tag), Reply(304, headers=tag))
    client.get(PULL)["number"] = 4  # what a caller does to it is not remembered
    assert client.get(PULL) == {"number": 3}
    assert client.get(PULL) == {"number": 3}
    assert [a.headers.get("if-none-match") for a in github.asked] == [None, 'W/"abc"', 'W/"abc"']


def test_a_read_that_changed_is_answered_anew(github: Script, client: GithubClient) -> None:
    github.says(
        Reply(body={"number": 3}, headers={"ETag": '"1"'}),
        Reply(body={"number": 4}, headers={"ETag": '"2"'}),
        Reply(304),
        Reply(body={"number": 5}),
    )
    assert [client.get(PULL)["number"] for _ in range(3)] == [3, 4, 4]
    assert client.get(PULL, page=2) == {"number": 5}
    assert [a.headers.get("if-none-match") for a in github.asked] == [None, '"1"', '"2"', None]


def test_an_answer_is_remembered_for_its_whole_address_alone(github: Script, client: GithubClient) -> None:
    github.says(Reply(body=[1], headers={"ETag": '"open"'}), Reply(body=[2], headers={"ETag": '"all"'}), Reply(304))
    assert client.get("/x", state="open") == [1]
    assert client.get("/x", state="all") == [2]
    assert client.get("/x", state="all") == [2]
    assert [a.headers.get("if-none-match") for a in github.asked] == [None, None, '"all"']


def test_only_so_many_answers_are_remembered(github: Script, client: GithubClient) -> None:
    github.says(*[Reply(body={}, headers={"ETag": '"x"'})] * 502, Reply(body={}), Reply(304))
    for page in range(502):
        client.get(PULL, page=page)
    client.get(PULL, page=1)
    client.get(PULL, page=501)
    assert "if-none-match" not in github.asked[-2].headers
    assert "if-none-match" in github.asked[-1].headers


def test_only_so_much_is_remembered(github: Script, client: GithubClient) -> None:
    large = Reply(body=b'"%s"' % (b"x" * 1_000_000), headers={"ETag": '"x"'})
    github.says(*[large] * 40, Reply(body={}), Reply(304))
    for page in range(40):
        client.get(PULL, page=page)
    client.get(PULL, page=6)
    assert "if-none-match" not in github.asked[-1].headers
    assert client.get(PULL, page=7) == "x" * 1_000_000
    github.says(Reply(body=b'"%s"' % (b"x" * 2_000_000), headers={"ETag": '"x"'}), Reply(body={}))
    client.get(PULL, page=7)
    client.get(PULL, page=7)
    assert "if-none-match" not in github.asked[-1].headers  # one that is too large is not held


def test_a_renamed_repository_is_followed_with_the_whole_question(github: Script, client: GithubClient) -> None:
    moved = f"{github.url}/api/v3/repositories/7/pulls"
    github.says(Reply(301, {"message": "Moved Permanently"}, {"Location": moved}), Reply(body=[]))
    client.get("/repos/acme/old/pulls", head="octo:fix")
    github.says(Reply(307, {}, {"Location": moved}), Reply(201, {"number": 9}))
    assert client.write("POST", "/repos/acme/old/pulls", {"title": "x"}) == {"number": 9}
    assert github.paths[1] == "GET /api/v3/repositories/7/pulls?head=octo%3Afix"
    assert (github.asked[3].verb, github.asked[3].body) == ("POST", {"title": "x"})


@pytest.mark.parametrize("where", ["", "https:", "//", "?"])
def test_a_redirect_to_nowhere_is_an_error(where: str, github: Script, client: GithubClient) -> None:
    github.says(*[Reply(307, {}, {"Location": where})] * 4)
    with pytest.raises(ForgeError, match="redirects to "):
        client.get(PULL)


def test_a_redirect_that_cannot_be_read_is_no_answer(github: Script, client: GithubClient) -> None:
    github.says(Reply(307, {}, {"Location": "http://[::1/x"}), Reply(body={"number": 3}))
    assert client.get(PULL) == {"number": 3}
    github.says(Reply(307, {}, {"Location": "http://[::1/x"}))
    with pytest.raises(Unanswered, match="its answer cannot be read"):
        client.write("POST", "/x")


@pytest.mark.parametrize("verb", ["GET", "PUT"])
def test_the_token_follows_no_redirect_to_another_host(
    verb: str, github: Script, elsewhere: Script, client: GithubClient
) -> None:
    github.says(Reply(301, {}, {"Location": f"{elsewhere.url}/api/v3{PULL}"}))
    with pytest.raises(ForgeError, match="which the token is not sent to"):
        client.get(PULL) if verb == "GET" else client.write(verb, PULL)
    assert elsewhere.asked == []


@pytest.mark.parametrize("token", ["", "two words", "a\nb", "tökén"])
def test_what_is_no_token_is_refused_without_showing_it(token: str) -> None:
    with pytest.raises(ForgeError) as caught:
        GithubClient("https://api.github.com", token)
    assert str(caught.value) == "The token for github.com is empty or holds what no token does: set it anew"


def test_a_name_with_a_slash_in_it_stays_one(github: Script, client: GithubClient) -> None:
    github.says(Reply(body={}), Reply(204))
    client.get("/repos/acme/widgets/branches/claudetm%2Fone%23x", q="a b&c")
    client.write("DELETE", "/repos/acme/widgets/git/refs/heads/claudetm%2Fone")
    assert github.paths == [
        "GET /api/v3/repos/acme/widgets/branches/claudetm%2Fone%23x?q=a+b%26c",
        "DELETE /api/v3/repos/acme/widgets/git/refs/heads/claudetm%2Fone",
    ]


def test_a_path_may_hold_parameters_itself(github: Script, client: GithubClient) -> None:
    github.says(Reply(body=[]))
    client.pages("/repos/acme/widgets/commits?path=docs")
    assert github.paths == ["GET /api/v3/repos/acme/widgets/commits?path=docs&per_page=100"]


def test_an_address_without_encryption_gets_no_token() -> None:
    with pytest.raises(ForgeError, match=r"http://ghe\.example\.com/api/v3 is not an https address"):
        GithubClient("http://ghe.example.com/api/v3", TOKEN)


# --- lists -------------------------------------------------------------------------------------------------------


def link(url: str) -> dict[str, str]:
    return {"Link": f'<{url}>; rel="next", <{url}0>; rel="last"', "ETag": '"1"'}


def test_a_list_is_read_to_its_last_page(github: Script, client: GithubClient) -> None:
    second = f"{github.url}/api/v3/repositories/7/runs?page=2&per_page=100"
    github.says(Reply(body={"check_runs": [1, 2]}, headers=link(second)), Reply(body={"check_runs": [3]}))
    assert client.pages("/repos/acme/widgets/runs", "check_runs", filter="all") == [1, 2, 3]
    assert github.paths == [
        "GET /api/v3/repos/acme/widgets/runs?filter=all&per_page=100",
        "GET /api/v3/repositories/7/runs?page=2&per_page=100",
    ]


def test_a_list_that_did_not_change_still_has_its_further_pages(github: Script, client: GithubClient) -> None:
    second = f"{github.url}/api/v3/x?page=2"
    github.says(Reply(body=[1], headers=link(second)), Reply(body=[2]), Reply(304), Reply(body=[2, 3]))
    assert client.pages("/x") == [1, 2]
    assert client.pages("/x") == [1, 2, 3]


def test_a_page_that_is_lost_is_read_again_and_none_is_left_out(github: Script, client: GithubClient) -> None:
    github.says(Reply(body=[1], headers=link(f"{github.url}/api/v3/x?page=2")), Reply(lost=True), Reply(body=[2]))
    assert client.pages("/x") == [1, 2]


def test_a_host_may_be_written_in_other_ways(github: Script, clock: Clock) -> None:
    port = github.url.rpartition(":")[2]
    client = GithubClient(f"http://LocalHost:{port}/api/v3/", TOKEN, clock=clock, sleep=clock.sleep)
    github.says(Reply(body=[1], headers=link(f"http://localhost:{port}/api/v3/x?page=2")), Reply(body=[2]))
    assert client.pages("/x") == [1, 2]


def test_a_next_page_of_another_host_is_refused(github: Script, elsewhere: Script, client: GithubClient) -> None:
    for other in (
        f"{elsewhere.url}/api/v3/x?page=2",
        f"{github.url}/elsewhere?page=2",
        f"{github.url}.evil/api/v3/x",
    ):
        github.says(Reply(body=[1], headers=link(other)))
        with pytest.raises(ForgeError, match="a next page of GET /x that is not to be followed"):
            client.pages("/x")
    assert elsewhere.asked == []
    assert len(github.asked) == 3


def test_pages_that_lead_back_are_refused(github: Script, client: GithubClient) -> None:
    github.says(*[Reply(body=[1], headers=link(f"{github.url}/api/v3/x?page=2"))] * 2)
    with pytest.raises(ForgeError, match="not to be followed"):
        client.pages("/x")


def test_what_is_no_list_is_not_taken_for_an_empty_one(github: Script, client: GithubClient) -> None:
    github.says(Reply(body={"total_count": 0}))
    with pytest.raises(ForgeError, match="something else than a list"):
        client.pages("/x", "jobs")


# --- refusals ----------------------------------------------------------------------------------------------------


def test_a_refused_token_is_said_with_both_ways_out(github: Script, client: GithubClient) -> None:
    github.says(Reply(401, {"message": "Bad credentials"}))
    with pytest.raises(Unauthorised) as caught:
        client.get(PULL)
    assert str(caught.value) == (
        "127.0.0.1 refuses the token (Bad credentials): log in again with `gh auth login --hostname 127.0.0.1`, or "
        "set GH_ENTERPRISE_TOKEN to a token that is valid"
    )
    assert len(github.asked) == 1


@pytest.mark.parametrize("status", [404, 410])
def test_what_is_not_there_is_told_from_what_fails(status: int, github: Script, client: GithubClient) -> None:
    scopes = {"X-OAuth-Scopes": "read:org", "X-Accepted-OAuth-Scopes": "repo"}
    github.says(Reply(status, {"message": "Not Found"}, scopes))
    with pytest.raises(NotFound) as caught:
        client.get(PULL)
    assert caught.value.status == status
    assert str(caught.value) == (
        f"127.0.0.1 answered GET {PULL} with {status} (Not Found): it does not exist, or the token may not see it "
        "(it lacks the scope repo)"
    )


def test_a_missing_permission_is_named(github: Script, client: GithubClient) -> None:
    needed = {"X-Accepted-GitHub-Permissions": "pull_requests=write,contents=read", "X-RateLimit-Remaining": "4000"}
    github.says(Reply(403, {"message": "Resource not accessible by personal access token"}, needed))
    with pytest.raises(GithubRefused) as caught:
        client.write("POST", "/repos/acme/widgets/pulls", {})
    assert "it needs pull requests: write and contents: read." in str(caught.value)
    assert not isinstance(caught.value, NotFound)


def test_single_sign_on_is_named_with_its_address(github: Script, client: GithubClient) -> None:
    url = "https://github.com/orgs/acme/sso?authorization_request=AB"
    github.says(Reply(403, {"message": "Resource protected by SAML"}, {"X-GitHub-SSO": f"required; url={url}"}))
    with pytest.raises(GithubRefused, match="single sign-on, which is done at https://github") as caught:
        client.get(PULL)
    assert str(caught.value).endswith(url)


def test_a_refusal_keeps_its_parts(github: Script, client: GithubClient) -> None:
    errors = [{"resource": "PullRequest", "code": "custom", "message": "A pull request already exists for acme:x."}]
    body = {"message": "Validation Failed", "errors": errors, "documentation_url": "https://docs.example.com"}
    github.says(Reply(422, body))
    with pytest.raises(GithubRefused) as caught:
        client.write("POST", "/repos/acme/widgets/pulls", {"head": "x"})
    refused = caught.value
    assert (refused.status, refused.message, refused.codes) == (422, "Validation Failed", ("custom",))
    assert (refused.errors, refused.documentation_url) == (errors, "https://docs.example.com")
    assert str(refused) == (
        "127.0.0.1 refused POST /repos/acme/widgets/pulls with 422: Validation Failed; A pull request already exists "
        "for acme:x."
    )


@pytest.mark.parametrize("body", [b"nonsense", ["a list"], {"message": None, "errors": "text"}, None])
def test_a_refusal_of_any_form_is_one(body: Any, github: Script, client: GithubClient) -> None:
    github.says(Reply(422, body))
    with pytest.raises(GithubRefused, match="refused GET"):
        client.get(PULL)


def test_what_github_says_cannot_steer_a_terminal(github: Script, client: GithubClient) -> None:
    github.says(Reply(422, {"message": f"\x1b[2Jgone\nand {TOKEN} said {'x' * 1000}"}))
    with pytest.raises(GithubRefused) as caught:
        client.get(PULL)
    assert str(caught.value).isprintable()
    assert TOKEN not in str(caught.value)
    assert len(str(caught.value)) < 400


# --- limits ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [403, 429])
def test_retry_after_is_obeyed_and_nothing_is_asked_meanwhile(
    status: int, github: Script, client: GithubClient, clock: Clock
) -> None:
    github.says(Reply(status, SECONDARY, {"Retry-After": "90"}), Reply(body={}))
    with pytest.raises(ForgeBusy) as caught:
        client.get(PULL)
    assert caught.value.until == clock.now + 90
    assert str(caught.value) == (
        f"GitHub asks for a pause (too many requests at once): it goes on at {hour(clock.now + 90)}"
    )
    clock.now += 89
    for ask in (lambda: client.get(PULL), lambda: client.write("POST", "/x"), lambda: client.graphql("{x}")):
        with pytest.raises(ForgeBusy) as again:
            ask()
        assert (again.value.until, str(again.value)) == (caught.value.until, str(caught.value))
    assert len(github.asked) == 1
    clock.now += 1
    assert client.get(PULL) == {}


def test_a_limit_that_comes_as_a_page_is_one(github: Script, client: GithubClient, clock: Clock) -> None:
    github.says(Reply(429, b"<html>Whoa there!</html>", {"Content-Type": "text/html"}))
    with pytest.raises(ForgeBusy, match="asks for a pause") as caught:
        client.write("POST", "/x")
    assert not isinstance(caught.value, Unanswered)
    assert caught.value.until == clock.now + 60


@pytest.mark.parametrize("status", [403, 429])
def test_a_used_up_quota_holds_until_its_reset(
    status: int, github: Script, client: GithubClient, clock: Clock
) -> None:
    github.says(Reply(status, PRIMARY, limits(0, clock)), Reply(body={"data": {"x": 1}}))
    with pytest.raises(ForgeBusy, match=r"quota of this hour is used up \(core\)") as caught:
        client.get(PULL)
    assert caught.value.until == clock.now + 601
    clock.now += 600
    with client.for_write(), pytest.raises(ForgeBusy):
        client.get(PULL)
    assert client.graphql("{x}") == ({"x": 1}, [])  # another resource
    assert len(github.asked) == 2


def test_a_secondary_limit_without_a_time_is_a_minute_and_doubles(
    github: Script, client: GithubClient, clock: Clock
) -> None:
    refused = Reply(403, SECONDARY, limits(4000, clock))
    github.says(*[refused] * 6)
    waits = []
    for _ in range(6):
        with pytest.raises(ForgeBusy) as caught:
            client.write("POST", "/x", {})
        waits.append(caught.value.until - clock.now)
        clock.now = caught.value.until
    assert waits == [60, 120, 240, 480, 960, 960]
    clock.now += 700
    github.says(refused)
    with pytest.raises(ForgeBusy) as caught:
        client.get(PULL)
    assert caught.value.until - clock.now == 60


def test_a_secondary_limit_holds_for_rest_and_graphql(github: Script, client: GithubClient, clock: Clock) -> None:
    github.says(Reply(403, SECONDARY, {"Retry-After": "30"}))
    asks: tuple[Callable[[], object], ...] = (
        lambda: client.get(PULL),
        lambda: client.get("/search/issues"),
        lambda: client.graphql("query Viewer { viewer { login } }"),
        lambda: client.write("POST", "/x", {}),
    )
    for ask in asks:
        with pytest.raises(ForgeBusy) as caught:
            ask()
        assert caught.value.until == clock.now + 30
    assert len(github.asked) == 1


def test_a_reset_that_a_wrong_clock_puts_far_away_is_not_waited_for(
    github: Script, client: GithubClient, clock: Clock
) -> None:
    for away, until in ((86400, 3660), (-86400, 60)):
        headers = limits(0, clock) | {"X-RateLimit-Reset": str(int(clock.now + away))}
        github.says(Reply(403, PRIMARY, headers))
        with pytest.raises(ForgeBusy) as caught:
            client.get(PULL)
        assert caught.value.until == clock.now + until
        clock.now = caught.value.until


def test_a_date_in_retry_after_is_read(github: Script, client: GithubClient, clock: Clock) -> None:
    clock.now = 784111717.0
    github.says(Reply(429, {}, {"Retry-After": "Sun, 06 Nov 1994 08:50:37 GMT"}))
    with pytest.raises(ForgeBusy) as caught:
        client.get(PULL)
    assert caught.value.until == clock.now + 120


def test_a_403_that_is_no_limit_is_a_refusal(github: Script, client: GithubClient, clock: Clock) -> None:
    github.says(Reply(403, {"message": "Must have admin rights"}, limits(4000, clock)), Reply(body={}))
    with pytest.raises(GithubRefused, match="with 403: Must have admin rights"):
        client.get(PULL)
    assert client.get(PULL) == {}


@pytest.mark.parametrize(("limit", "left"), [(5000, 250), (15000, 750), (1000, 50), (60, 30)])
def test_the_rest_of_the_quota_is_kept_for_writes(
    limit: int, left: int, github: Script, client: GithubClient, clock: Clock
) -> None:
    low = limits(left - 1, clock, limit=limit)
    github.says(Reply(body={}, headers=limits(left, clock, limit=limit)), Reply(body={}, headers=low))
    client.get(PULL)
    client.get(PULL)
    with pytest.raises(ForgeBusy, match="nearly used up") as caught:
        client.get(PULL)
    assert caught.value.until == clock.now + 600
    assert f"({left - 1} of {limit} left)" in str(caught.value)
    github.says(*[Reply(body={"ok": True}, headers=low)] * 3)
    assert client.write("POST", "/x", {}) == {"ok": True}
    with client.for_write():
        assert client.get(PULL) == {"ok": True}
    with pytest.raises(ForgeBusy):
        client.get(PULL)
    clock.now += 601
    assert client.get(PULL) == {"ok": True}


def test_a_403_with_nothing_left_is_the_limit_whatever_it_says(
    github: Script, client: GithubClient, clock: Clock
) -> None:
    github.says(Reply(403, {"message": "Forbidden"}, limits(0, clock)))
    with pytest.raises(ForgeBusy, match="used up"):
        client.get(PULL)


def test_a_secondary_limit_is_one_also_with_nothing_left(github: Script, client: GithubClient, clock: Clock) -> None:
    github.says(Reply(403, SECONDARY, limits(0, clock)))
    with pytest.raises(ForgeBusy, match="asks for a pause") as caught:
        client.get(PULL)
    assert caught.value.until == clock.now + 60


def test_of_searches_nothing_is_kept(github: Script, client: GithubClient, clock: Clock) -> None:
    github.says(*[Reply(body={}, headers=limits(1, clock, "search", limit=30))] * 2)
    client.get("/search/issues", q="x")
    assert client.get("/search/issues", q="x") == {}


def test_the_quota_is_known_by_resource(github: Script, client: GithubClient, clock: Clock) -> None:
    assert client.quota().of("core") is None
    github.says(
        Reply(body={}, headers=limits(4990, clock)),
        Reply(body={"data": {}}, headers=limits(4000, clock, "graphql")),
        Reply(304, headers=limits(4980, clock)),
    )
    client.get(PULL)
    client.graphql("{x}")
    core, graphql = client.quota().of("core"), client.quota().of("graphql")
    assert core is not None
    assert graphql is not None
    assert (core.remaining, core.limit, core.resets_at) == (4990, 5000, clock.now + 600)
    assert graphql.remaining == 4000


def test_a_server_without_limits_has_no_quota(github: Script, client: GithubClient) -> None:
    github.says(Reply(body={}), Reply(body={}))
    client.get(PULL)
    client.get(PULL)
    assert client.quota().resources == {}


# --- writes ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "failure",
    [
        Reply(lost=True),
        Reply(502, b"<html>", {"Content-Type": "text/html"}),
        Reply(500, {"message": "Server Error"}),
        Reply(201, {"number": 3}, short=3),
        Reply(201, b'{"num'),
        Reply(408),
    ],
    ids=["lost", "502 page", "500", "short", "broken", "408"],
)
def test_a_write_without_an_answer_is_never_sent_again(failure: Reply, github: Script, client: GithubClient) -> None:
    github.says(failure)
    with pytest.raises(Unanswered, match=r"did not say what became of POST /x \(.*\): it is looked up at"):
        client.write("POST", "/x", {"body": "hello"})
    assert len(github.asked) == 1


def test_a_write_to_where_nothing_listens_may_be_looked_up(clock: Clock) -> None:
    client = GithubClient("http://127.0.0.1:1/api/v3", TOKEN, clock=clock, sleep=clock.sleep)
    with pytest.raises(Unanswered) as caught:
        client.write("POST", "/x")
    assert caught.value.until == clock.now + 15
    assert clock.slept == []


def test_a_write_says_what_it_came_to(github: Script, client: GithubClient) -> None:
    github.says(Reply(201, {"id": 1}), Reply(204), Reply(202, {"message": "Updating"}))
    assert client.write("POST", "/x", {"a": "ü"}) == {"id": 1}
    assert client.write("DELETE", "/x") is None
    assert client.write("PUT", "/x/update-branch", {}) == {"message": "Updating"}
    assert [a.body for a in github.asked] == [{"a": "ü"}, None, {}]


def test_a_write_refused_for_a_limit_did_not_happen(github: Script, client: GithubClient, clock: Clock) -> None:
    for refused in (Reply(403, SECONDARY), Reply(429, {}), Reply(403, PRIMARY, limits(0, clock))):
        github.says(refused)
        with pytest.raises(ForgeBusy) as caught:
            client.write("POST", "/x", {})
        assert not isinstance(caught.value, Unanswered)
        clock.now = caught.value.until


def test_writes_keep_their_distance(github: Script, client: GithubClient, clock: Clock) -> None:
    github.says(*[Reply(201, {})] * 2, Reply(body={}), Reply(422, {}), *[Reply(body={"data": {}})] * 2)
    client.write("POST", "/x")
    client.write("POST", "/x")
    client.get(PULL)  # a read waits for nothing
    assert clock.slept == [1.0]
    clock.now += 0.75
    with pytest.raises(GithubRefused):
        client.write("POST", "/x")
    client.mutate("mutation Resolve {x}")
    clock.now += 10
    client.mutate("mutation Resolve {x}")
    assert clock.slept == [1.0, 0.25, 1.0]


def test_writes_of_several_threads_come_one_by_one(github: Script, client: GithubClient) -> None:
    inside = threading.Semaphore(1)
    crossed = threading.Event()

    def reply(asked: Asked) -> Reply:
        if not inside.acquire(blocking=False):
            crossed.set()
            return Reply(500)
        crossed.wait(0.02)  # time enough for another to come, if it may
        inside.release()
        return Reply(201, asked.body)

    github.says(*[reply] * 5)
    with ThreadPoolExecutor(5) as pool:
        answers = list(pool.map(lambda n: client.write("POST", "/x", {"n": n}), range(5)))
    assert answers == [{"n": n} for n in range(5)]
    assert not crossed.is_set()


def test_writes_that_are_lost_at_the_same_time_count_once(github: Script, client: GithubClient) -> None:
    github.says(*[Reply(lost=True)] * 2)
    until = []
    for _ in range(2):
        with pytest.raises(Unanswered) as caught:
            client.write("POST", "/x")
        until.append(caught.value.until)
    assert until[0] == until[1]


def test_reads_of_several_threads_get_their_own_answers(github: Script, client: GithubClient) -> None:
    github.says(*[lambda asked: Reply(body={"path": asked.path})] * 200)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda n: client.get(f"/x/{n}"), range(200)))
    assert answers == [{"path": f"/api/v3/x/{n}"} for n in range(200)]


# --- GraphQL -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("api", "graphql"),
    [
        ("https://api.github.com", "https://api.github.com/graphql"),
        ("https://ghe.example.com/api/v3", "https://ghe.example.com/api/graphql"),
        ("https://api.acme.ghe.com", "https://api.acme.ghe.com/graphql"),
        ("http://127.0.0.1:8080/api/v3", "http://127.0.0.1:8080/api/graphql"),
    ],
)
def test_graphql_stands_beside_rest(api: str, graphql: str) -> None:
    assert graphql_address(api) == graphql


def test_partial_data_is_kept(github: Script, client: GithubClient) -> None:
    errors = [{"type": "FORBIDDEN", "message": "Resource not accessible", "path": ["repository", "rollup"]}]
    github.says(Reply(body={"data": {"repository": {"rollup": None, "number": 3}}, "errors": errors}))
    assert client.graphql("query Q($n: Int!) {x}", n=3) == ({"repository": {"rollup": None, "number": 3}}, errors)
    (asked,) = github.asked
    assert (asked.verb, asked.path) == ("POST", "/api/graphql")
    assert asked.body == {"query": "query Q($n: Int!) {x}", "variables": {"n": 3}}


@pytest.mark.parametrize(
    "failure",
    [
        Reply(502, {"data": None, "errors": [{"message": "Something went wrong while executing your query."}]}),
        Reply(200, {"data": None, "errors": [{"message": "Something went wrong while executing your query. 1F"}]}),
        Reply(200, {"errors": [{"message": "Something went wrong while executing your query. This may be"}]}),
        Reply(200, {"data": None}),
        Reply(200, ["odd"]),
        Reply(lost=True),
    ],
)
def test_a_query_that_fails_over_is_repeated(failure: Reply, github: Script, client: GithubClient) -> None:
    github.says(failure, Reply(body={"data": {"x": 1}}))
    assert client.graphql("{x}") == ({"x": 1}, [])


def test_nothing_but_errors_is_a_refusal(github: Script, client: GithubClient) -> None:
    errors = [{"message": "Field 'x' doesn't exist", "extensions": {"code": "undefinedField"}}]
    github.says(Reply(body={"errors": errors}))
    with pytest.raises(GithubRefused) as caught:
        client.graphql("query Pulls($n: Int!) { x }")
    assert caught.value.codes == ("undefinedField",)
    assert str(caught.value) == "127.0.0.1 refused the query Pulls (GraphQL): Field 'x' doesn't exist"


@pytest.mark.parametrize(
    "error",
    [
        {"type": "RATE_LIMITED", "message": "API rate limit exceeded"},
        {"type": "RATE_LIMIT", "code": "graphql_rate_limit", "message": "API rate limit already exceeded for user 1"},
    ],
)
@pytest.mark.parametrize("mutation", [False, True])
def test_graphqls_quota_used_up_comes_as_200(
    error: dict[str, str], mutation: bool, github: Script, client: GithubClient, clock: Clock
) -> None:
    github.says(Reply(body={"data": None, "errors": [error]}, headers=limits(0, clock, "graphql")), Reply(body={}))
    ask = client.mutate if mutation else client.graphql
    with pytest.raises(ForgeBusy, match=r"used up \(graphql\)") as caught:
        ask("mutation Resolve {x}" if mutation else "{x}")
    assert not isinstance(caught.value, Unanswered)
    assert caught.value.until == clock.now + 601
    with pytest.raises(ForgeBusy):
        client.graphql("{x}")
    assert client.get(PULL) == {}  # REST has a quota of its own


def test_a_limit_beside_data_is_a_limit(github: Script, client: GithubClient, clock: Clock) -> None:
    error = {"type": "RATE_LIMITED", "path": ["repository", "p1"], "message": "API rate limit exceeded"}
    told = {"data": {"repository": {"p1": None, "p2": {"number": 2}}}, "errors": [error]}
    github.says(Reply(body=told, headers=limits(0, clock, "graphql")))
    with pytest.raises(ForgeBusy, match=r"used up \(graphql\)"):
        client.graphql("{x}")


def test_graphqls_secondary_limit_in_200_is_a_pause(github: Script, client: GithubClient, clock: Clock) -> None:
    github.says(Reply(body={"errors": [SECONDARY]}, headers=limits(3000, clock, "graphql")))
    with pytest.raises(ForgeBusy, match="asks for a pause") as caught:
        client.mutate("mutation Resolve {x}")
    assert caught.value.until == clock.now + 60


def test_scopes_that_graphql_misses_are_named(github: Script, client: GithubClient) -> None:
    said = "Your token has not been granted the required scopes to execute this query."
    github.says(Reply(body={"errors": [{"type": "INSUFFICIENT_SCOPES", "message": said}]}))
    with pytest.raises(GithubRefused) as caught:
        client.graphql("query Q {x}")
    assert str(caught.value).endswith(f"{said} Or set GH_ENTERPRISE_TOKEN to a token that has them")


def test_a_mutation_is_refused_by_any_error(github: Script, client: GithubClient) -> None:
    errors = [
        {"type": "UNPROCESSABLE", "message": "Pull request is in clean status", "extensions": {"code": "clean"}}
    ]
    github.says(Reply(body={"data": {"enable": None}, "errors": errors}))
    with pytest.raises(GithubRefused) as caught:
        client.mutate("mutation Enable($id: ID!) {x}", id="PR_1")
    assert caught.value.message == "Pull request is in clean status"
    assert caught.value.codes == ("UNPROCESSABLE", "clean")
    assert str(caught.value) == "127.0.0.1 refused the mutation Enable (GraphQL): Pull request is in clean status"
    github.says(Reply(body={"data": {"x": None}, "errors": [{"type": "NOT_FOUND", "message": "No node"}]}))
    with pytest.raises(NotFound):
        client.mutate("mutation {x}")


@pytest.mark.parametrize(
    "failure",
    [
        Reply(lost=True),
        Reply(502),
        Reply(200, {"data": None, "errors": [{"message": "Something went wrong while executing your query."}]}),
        Reply(200, {"data": None}),
    ],
)
def test_a_mutation_without_an_answer_is_never_sent_again(
    failure: Reply, github: Script, client: GithubClient
) -> None:
    github.says(failure)
    with pytest.raises(Unanswered, match="what became of the mutation Resolve"):
        client.mutate("mutation Resolve($id: ID!) {x}", id="T_1")
    assert len(github.asked) == 1


# --- logs --------------------------------------------------------------------------------------------------------

LOG = "/repos/acme/widgets/actions/jobs/5/logs"


def test_a_log_is_fetched_without_the_token(github: Script, elsewhere: Script, client: GithubClient) -> None:
    github.says(Reply(302, headers={"Location": f"{elsewhere.url}/logs/5?sig=abc"}))
    elsewhere.says(Reply(body=b"one\ntwo\n"))
    assert client.blob(LOG, 1000) == b"one\ntwo\n"
    (asked,) = elsewhere.asked
    assert asked.path == "/logs/5?sig=abc"
    assert "authorization" not in asked.headers
    assert TOKEN not in str(asked)
    assert github.asked[0].headers["authorization"] == f"token {TOKEN}"


def test_of_a_long_log_the_end_is_kept_in_whole_lines(
    github: Script, elsewhere: Script, client: GithubClient
) -> None:
    lines = b"".join(b"line %06d\n" % n for n in range(100_000))
    for most, kept in ((30, 2), (24, 2), (23, 1), (12, 1), (1_200_000, 100_000), (600_000, 50_000)):
        github.says(Reply(302, headers={"Location": f"{elsewhere.url}/logs/5"}))
        elsewhere.says(Reply(body=lines))
        assert client.blob(LOG, most) == lines[-kept * 12 :]


def test_a_log_without_line_ends_is_cut_all_the_same(github: Script, elsewhere: Script, client: GithubClient) -> None:
    github.says(Reply(302, headers={"Location": f"{elsewhere.url}/logs/5"}))
    elsewhere.says(Reply(body=b"x" * 300_000))
    assert client.blob(LOG, 100) == b"x" * 100


def test_a_log_that_breaks_off_is_fetched_again_from_a_new_address(
    github: Script, elsewhere: Script, client: GithubClient
) -> None:
    github.says(*[Reply(302, headers={"Location": f"{elsewhere.url}/logs/{n}"}) for n in range(3)])
    elsewhere.says(Reply(body=b"one\n", short=2), Reply(403, b"expired"), Reply(body=b"one\n"))
    assert client.blob(LOG, 1000) == b"one\n"
    assert elsewhere.paths == ["GET /logs/0", "GET /logs/1", "GET /logs/2"]


def test_a_log_that_is_gone_is_not_found(github: Script, client: GithubClient) -> None:
    github.says(Reply(410, {"message": "Gone"}))
    with pytest.raises(NotFound):
        client.blob(LOG, 1000)


def test_a_log_of_a_renamed_repository_is_followed_with_the_token_only_as_far_as_the_api(
    github: Script, elsewhere: Script, client: GithubClient
) -> None:
    github.says(
        Reply(301, headers={"Location": f"{github.url}/api/v3/repositories/7/logs"}),
        Reply(302, headers={"Location": f"{elsewhere.url}/first"}),
    )
    elsewhere.says(Reply(307, headers={"Location": "/second"}), Reply(body=b"x\n"))
    assert client.blob(LOG, 10) == b"x\n"
    assert all("authorization" in a.headers for a in github.asked)
    assert not any("authorization" in a.headers for a in elsewhere.asked)


def test_a_log_that_only_a_firewall_keeps_away_holds_no_run_up(
    github: Script, client: GithubClient, clock: Clock
) -> None:
    github.says(*[Reply(302, headers={"Location": "http://127.0.0.1:1/log?sig=abc"})] * 10)
    with pytest.raises(GithubRefused, match=r"at a place that cannot be read: http://127\.0\.0\.1: it") as caught:
        client.blob(LOG, 10)
    assert len(clock.slept) > 2
    assert "sig" not in "".join(traceback.format_exception(caught.value))


def test_a_log_that_is_not_where_it_should_lie_is_not_found(
    github: Script, elsewhere: Script, client: GithubClient
) -> None:
    github.says(Reply(302, headers={"Location": f"{elsewhere.url}/log"}))
    elsewhere.says(Reply(404, b"<Error>BlobNotFound</Error>"))
    with pytest.raises(NotFound):
        client.blob(LOG, 10)


def test_a_log_is_not_to_be_had_while_github_is_down(github: Script, client: GithubClient) -> None:
    github.says(*[Reply(502)] * 10)
    with pytest.raises(ForgeBusy):
        client.blob(LOG, 10)


@pytest.mark.parametrize("where", ["http://192.0.2.1/log", "file:///etc/passwd", "ftp://example.com/log"])
def test_a_log_is_fetched_from_encrypted_addresses_alone(where: str, github: Script, client: GithubClient) -> None:
    github.says(Reply(302, headers={"Location": where}))
    with pytest.raises(GithubRefused, match=r"has it at a place that cannot be read: .*: it is not an https address"):
        client.blob(LOG, 10)


def test_a_log_on_this_machine_is_read_for_a_forge_on_this_machine_alone(elsewhere: Script) -> None:
    with pytest.raises(FileUnsafe, match="is not an https address"):
        last_bytes(f"{elsewhere.url}/log", 10, "agent", seconds=1)
    assert elsewhere.asked == []


# --- the token ---------------------------------------------------------------------------------------------------


def test_a_classic_token_has_scopes(github: Script, client: GithubClient) -> None:
    github.says(Reply(body={}, headers={"X-OAuth-Scopes": "repo, read:org"}))
    assert client.scopes() == frozenset({"repo", "read:org"})
    assert github.paths == ["GET /api/v3/rate_limit"]  # costs nothing
    assert client.scopes() == frozenset({"repo", "read:org"})


def test_a_classic_token_may_have_none(github: Script, client: GithubClient) -> None:
    github.says(Reply(404, {"message": "Rate limiting is not enabled."}, {"X-OAuth-Scopes": ""}))
    assert client.scopes() == frozenset()


def test_other_tokens_scopes_are_not_to_be_had(github: Script, client: GithubClient) -> None:
    github.says(Reply(body={}))
    client.get(PULL)
    assert client.scopes() is None


def test_whose_token_it_is_is_asked_once(github: Script, client: GithubClient) -> None:
    github.says(Reply(body={"login": "ada"}))
    assert (client.login, client.login) == ("ada", "ada")
    assert github.paths == ["GET /api/v3/user"]


def test_an_apps_token_is_asked_by_graphql(github: Script, client: GithubClient) -> None:
    github.says(
        Reply(403, {"message": "Resource not accessible by integration"}),
        Reply(body={"data": {"viewer": {"login": "github-actions[bot]"}}}),
    )
    assert client.login == "github-actions[bot]"


def test_a_bad_token_is_not_asked_twice(github: Script, client: GithubClient) -> None:
    github.says(Reply(401, {"message": "Bad credentials"}))
    with pytest.raises(Unauthorised):
        _ = client.login


def test_the_token_is_in_no_text(github: Script, client: GithubClient, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    caplog.set_level(logging.DEBUG, logger="github")
    github.says(Reply(401, {"message": "Bad credentials"}), *[Reply(lost=True)] * 20)
    texts = [repr(client)]
    asks: list[Callable[[], object]] = [
        lambda: client.get(PULL),
        lambda: client.get(PULL),
        lambda: client.write("PUT", "/x"),
    ]
    for ask in asks:
        with pytest.raises(ForgeError) as caught:
            ask()
        texts += ["".join(traceback.format_exception(caught.value)), repr(caught.value)]
    assert "oauth token removed" in caplog.text
    assert TOKEN not in "".join([*texts, caplog.text])
    assert TOKEN not in redact(f"an agent says {TOKEN}")


@pytest.mark.parametrize("graphql", [False, True])
def test_a_write_that_was_submitted_too_quickly_is_a_limit(
    graphql: bool, github: Script, client: GithubClient, clock: Clock
) -> None:
    said = {"type": "UNPROCESSABLE", "message": "was submitted too quickly"}
    told = {"data": None} if graphql else {"message": "Validation Failed"}
    github.says(Reply(200 if graphql else 422, {**told, "errors": [said]}))
    with pytest.raises(ForgeBusy) as caught:
        client.mutate("mutation M { x }") if graphql else client.write("POST", "/x", {})
    assert caught.value.until == clock.now + 60
