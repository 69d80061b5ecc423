"""Where pull requests live, read from remotes' addresses."""

from __future__ import annotations

import pytest

from claudetm.adapters.forge.github.place import (
    Address,
    Hosted,
    address,
    api_of,
    git_host,
    hosted,
    hosted_from_data,
    hosted_to_data,
    is_github,
    is_loopback,
    parse_issue,
    parse_pull,
)
from claudetm.errors import RepositoryError, UsageError

HTTPS = "https://github.com/acme/widgets.git"
SSH = "git@github.com:acme/widgets.git"
FORK = "git@github.com:octo/widgets.git"


@pytest.mark.parametrize(
    "url",
    [
        "https://github.com/acme/widgets.git",
        "https://github.com/acme/widgets",
        "https://github.com/acme/widgets/",
        "https://www.github.com/acme/widgets.git/",
        "https://GitHub.com:443/acme/widgets",
        "https://ada:secret@github.com/acme/widgets.git",
        "https://x-access-token:ghs_secret@github.com/acme/widgets",
        "http://github.com/acme/widgets",
        "git://github.com/acme/widgets.git",
        "ssh://git@github.com/acme/widgets.git",
        "ssh://git@github.com:22/acme/widgets.git",
        "ssh://git@ssh.github.com:443/acme/widgets.git",
        "git+ssh://git@github.com/acme/widgets",
        "git@github.com:acme/widgets.git",
        "git@github.com:/acme/widgets.git/",
        "github.com:acme/widgets",
        " git@ssh.github.com:acme/widgets.git\n",
    ],
)
def test_every_way_to_write_an_address_is_read(url: str) -> None:
    found = address(url)
    assert found is not None
    assert (found.host, found.port, found.repository) == ("github.com", None, "acme/widgets")
    assert found.web == "https://github.com/acme/widgets.git"
    assert "secret" not in repr(found)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "/srv/git/acme/widgets.git",
        "../acme/widgets",
        "./acme:widgets/x",
        "file:///srv/acme/widgets.git",
        "https://gist.github.com/0123456789abcdef.git",
        "https://github.com/acme",
        "https://github.com/acme/widgets/pull/3",
        "https://github.com/acme/..",
        "https://github.com:eighty/acme/widgets",
        "https://[::1/acme/widgets",
        "https:///acme/widgets",
        "git@-oProxyCommand=x:acme/widgets",
        "ssh://-oProxyCommand=x/acme/widgets",
        "git@github.com:acme/wid gets",
        "https://github.com/acme/wid%0agets",
        "ftp://github.com/acme/widgets",
        "ext::sh -c x",
    ],
)
def test_what_is_no_repository_on_a_host_is_none(url: str) -> None:
    assert address(url) is None


def test_servers_have_ports_and_prefixes() -> None:
    found = address("https://ghe.example.com:8443/git/acme/widgets.git")
    assert found == Address("https", "ghe.example.com", 8443, "acme", "widgets", "git/")
    assert found.web == "https://ghe.example.com:8443/git/acme/widgets.git"
    over_ssh = address("ssh://git@ghe.example.com:2222/acme/widgets.git")
    assert over_ssh is not None
    assert over_ssh.web == "https://ghe.example.com/acme/widgets.git"
    local = address("http://127.0.0.1:8080/acme/widgets.git")
    assert local is not None
    assert local.web == "http://127.0.0.1:8080/acme/widgets.git"
    clear = address("http://ghe.example.com/acme/widgets.git")
    assert clear is not None
    assert clear.web == "https://ghe.example.com/acme/widgets.git"
    sixth = address("http://[::1]:8080/acme/widgets.git")
    assert sixth is not None
    assert sixth.web == "http://[::1]:8080/acme/widgets.git"


@pytest.mark.parametrize(
    ("host", "api"),
    [
        ("github.com", "https://api.github.com"),
        ("acme.ghe.com", "https://api.acme.ghe.com"),
        ("ghe.example.com", "https://ghe.example.com/api/v3"),
    ],
)
def test_every_host_has_its_api_and_the_api_its_host(host: str, api: str) -> None:
    assert api_of(host) == api
    assert git_host(api) == host


def test_an_api_is_unencrypted_on_this_machine_alone() -> None:
    assert api_of("127.0.0.1", "http", 8080) == "http://127.0.0.1:8080/api/v3"
    assert api_of("localhost", "http", 8080) == "http://localhost:8080/api/v3"
    assert api_of("ghe.example.com", "http", 8080) == "https://ghe.example.com:8080/api/v3"
    assert [is_loopback(h) for h in ("127.8.9.1", "::1", "localhost", "127.0.0.1.example.com")] == [True] * 3 + [
        False
    ]


def test_github_is_known_by_name_or_by_what_is_configured() -> None:
    assert all(is_github(h, "") for h in ("github.com", "www.github.com", "ssh.github.com", "acme.ghe.com"))
    assert not any(
        is_github(h, "") for h in ("gitlab.com", "ghe.com", "notgithub.com", "github.com.evil.com", "127.0.0.1")
    )
    assert is_github("ghe.example.com", "https://ghe.example.com/api/v3")
    assert not is_github("gitlab.com", "https://ghe.example.com/api/v3")


def test_a_clone_pushes_where_it_came_from() -> None:
    found = hosted({"origin": "https://ada:secret@github.com/acme/widgets"}, {}, "", {})
    assert found == Hosted("https://api.github.com", "acme", "widgets", HTTPS, HTTPS, "acme")
    assert not found.forked
    assert hosted_from_data(hosted_to_data(found)) == found


def test_an_ssh_remote_stays_one() -> None:
    found = hosted({"origin": SSH}, {}, "", {})
    assert found == Hosted("https://api.github.com", "acme", "widgets", SSH, SSH, "acme")
    found = hosted({"origin": "ssh://git:secret@ssh.github.com:443/acme/widgets.git"}, {}, "", {})
    assert found is not None
    assert found.push == "ssh://git@ssh.github.com:443/acme/widgets.git"


def test_a_fork_is_pushed_to_and_its_pull_requests_go_upstream() -> None:
    found = hosted({"origin": FORK, "upstream": HTTPS, "third": "https://github.com/x/widgets"}, {}, "", {})
    assert found == Hosted("https://api.github.com", "acme", "widgets", HTTPS, FORK, "octo")
    assert found.forked


def test_a_push_address_of_its_own_is_a_fork_too() -> None:
    found = hosted({"origin": HTTPS}, {"origin": FORK}, "", {})
    assert found == Hosted("https://api.github.com", "acme", "widgets", HTTPS, FORK, "octo")


def test_an_upstream_elsewhere_or_the_same_makes_no_fork() -> None:
    for upstream in (
        "https://gitlab.com/other/widgets",
        "https://acme.ghe.com/other/widgets",
        "https://github.com/ACME/Widgets",
    ):
        found = hosted({"origin": HTTPS, "upstream": upstream}, {}, "", {})
        assert found is not None
        assert (found.repository.lower(), found.forked) == ("acme/widgets", False)


@pytest.mark.parametrize(
    "to", ["DISABLED", "/srv/backup.git", "https://gitlab.com/acme/widgets", "https://a.ghe.com/b/c"]
)
def test_a_push_address_that_leads_elsewhere_is_refused(to: str) -> None:
    with pytest.raises(
        RepositoryError, match=r"git remote set-url --push origin https://github\.com/acme/widgets\.git$"
    ):
        hosted({"origin": HTTPS}, {"origin": to}, "", {})


def test_a_fork_of_the_same_owner_is_refused() -> None:
    with pytest.raises(RepositoryError, match="acme/widgets-fork and acme/widgets belong to the same owner"):
        hosted({"origin": "git@github.com:acme/widgets-fork", "upstream": HTTPS}, {}, "", {})


def test_a_repository_that_is_not_on_github_is_none() -> None:
    assert hosted({}, {}, "", {}) is None
    assert hosted({"origin": "/srv/widgets.git"}, {}, "", {}) is None
    assert hosted({"origin": "https://gitlab.com/acme/widgets"}, {}, "", {}) is None
    # what is worked with is elsewhere, whatever mirror there is
    assert hosted({"origin": "https://gitlab.com/acme/widgets", "mirror": HTTPS}, {}, "", {}) is None


def test_without_an_origin_the_only_remote_on_github_is_it() -> None:
    found = hosted({"work": SSH, "backup": "/srv/widgets.git"}, {}, "", {})
    assert found is not None
    assert found.push == SSH
    found = hosted({"upstream": HTTPS, "work": FORK}, {}, "", {})
    assert found is not None
    assert (found.repository, found.forked) == ("acme/widgets", False)


def test_several_remotes_without_an_origin_are_refused_by_name() -> None:
    with pytest.raises(RepositoryError, match="The remotes home, work are all on GitHub, and none is named origin"):
        hosted({"work": SSH, "home": FORK}, {}, "", {})


@pytest.mark.parametrize(
    ("configured", "environment"),
    [
        ("https://ghe.example.com/api/v3/", {}),
        ("", {"GITHUB_API_URL": "https://ghe.example.com/api/v3"}),
        ("", {"GITHUB_SERVER_URL": "https://ghe.example.com"}),
        ("", {"GH_HOST": "GHE.example.com"}),
    ],
)
def test_a_server_is_known_by_what_is_configured(configured: str, environment: dict[str, str]) -> None:
    for url in ("https://ghe.example.com/acme/widgets", "git@ghe.example.com:acme/widgets.git"):
        assert hosted({"origin": url}, {}, "", {}) is None
        found = hosted({"origin": url}, {}, configured, environment)
        assert found is not None
        assert found.api == "https://ghe.example.com/api/v3"
    on_github = hosted({"origin": SSH}, {}, configured, environment)
    assert on_github is not None
    assert on_github.api == "https://api.github.com"


def test_what_is_configured_goes_before_the_environment() -> None:
    found = hosted(
        {"origin": "http://127.0.0.1:8080/acme/widgets.git"},
        {},
        "http://127.0.0.1:8080/api/v3",
        {"GITHUB_API_URL": "https://api.github.com", "GITHUB_SERVER_URL": "https://github.com"},
    )
    assert found is not None
    assert (found.api, found.url) == ("http://127.0.0.1:8080/api/v3", "http://127.0.0.1:8080/acme/widgets.git")


def test_whoever_asks_for_github_has_a_server_that_nobody_named() -> None:
    found = hosted({"origin": "https://git.example.com:8443/acme/widgets"}, {}, "", {}, any_host=True)
    assert found is not None
    assert found.api == "https://git.example.com:8443/api/v3"
    assert hosted({"origin": "/srv/widgets.git"}, {}, "", {}, any_host=True) is None


def test_an_alias_of_ssh_is_resolved_where_the_host_is_not_known() -> None:
    asked: list[str] = []

    def resolve(alias: str) -> str:
        asked.append(alias)
        return {"github-work": "ssh.github.com", "lab": "gitlab.com"}.get(alias, alias)

    alias = "git@github-work:acme/widgets.git"
    found = hosted({"origin": alias, "upstream": "git@lab:a/b"}, {}, "", {}, resolve)
    assert found == Hosted("https://api.github.com", "acme", "widgets", alias, alias, "acme")
    forked = hosted({"origin": "git@github-work:octo/widgets.git", "upstream": HTTPS}, {}, "", {}, resolve)
    assert forked is not None
    assert (forked.repository, forked.head_owner) == ("acme/widgets", "octo")
    asked.clear()
    assert hosted({"origin": SSH, "x": "https://gitlab.com/a/b", "y": "git@a.ghe.com:a/b"}, {}, "", {}, resolve)
    assert asked == []


PLACE = Hosted("https://api.github.com", "acme", "widgets", HTTPS, HTTPS, "acme")


@pytest.mark.parametrize(
    "text",
    [
        "12",
        "#12",
        " 12 ",
        "acme/widgets#12",
        "Acme/Widgets#12",
        "https://github.com/acme/widgets/pull/12",
        "https://github.com/acme/widgets/pull/12/files",
        "https://github.com/acme/widgets/pull/12#discussion_r1",
        "https://www.github.com/ACME/widgets/pull/12?w=1",
        "github.com/acme/widgets/pull/12/",
    ],
)
def test_a_pull_request_is_named_by_number_or_address(text: str) -> None:
    assert parse_pull(text, PLACE) == 12


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0",
        "-1",
        "#",
        "twelve",
        "1.5",
        "acme/widgets12",
        "acme/widgets/12",
        "https://github.com/acme/widgets/issues/12",
        "https://github.com/acme/widgets/pull/",
        "https://github.com/acme/widgets/pull/12x",
        "١٢",
    ],
)
def test_what_is_no_pull_request_is_refused(text: str) -> None:
    with pytest.raises(
        UsageError, match=r"is no pull request of GitHub: write its number, or https://github\.com/acme/"
    ):
        parse_pull(text, PLACE)


@pytest.mark.parametrize(
    ("text", "other"),
    [
        ("https://github.com/octo/widgets/pull/12", "octo/widgets"),
        ("octo/widgets#12", "octo/widgets"),
        ("https://ghe.example.com/acme/widgets/pull/12", r"ghe\.example\.com/acme/widgets"),
    ],
)
def test_a_pull_request_of_another_repository_is_refused_by_its_name(text: str, other: str) -> None:
    with pytest.raises(
        UsageError, match=rf"is of {other}, and .* are in acme/widgets: run this in a clone of {other}$"
    ):
        parse_pull(text, PLACE)


def test_an_issue_is_named_alike() -> None:
    assert parse_issue("#7", PLACE) == parse_issue("https://github.com/acme/widgets/issues/7", PLACE) == 7
    with pytest.raises(UsageError, match="is no issue of GitHub"):
        parse_issue("https://github.com/acme/widgets/pull/7", PLACE)


def test_addresses_on_a_server_are_read() -> None:
    place = Hosted("http://127.0.0.1:8080/api/v3", "acme", "widgets", "", "", "acme")
    assert parse_pull("http://127.0.0.1:8080/acme/widgets/pull/3", place) == 3
