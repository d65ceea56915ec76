"""Varnish, Fastly and the stream server's settings say the same: paths, methods, timeouts, windows and statuses.

Each is read from what operators run; nothing here repeats a number but those of the settings.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flagstream.settings import load
from stream_server import cors
from stream_server.documents.answers import CORS as DOCUMENT_CORS
from stream_server.documents.answers import PREFLIGHT as DOCUMENT_PREFLIGHT
from stream_server.endpoint import PATH
from stream_server.settings import StreamServerSettings

CDN = Path(__file__).parent.parent.parent / "cdn"
POLICY = (CDN / "varnish" / "policy.vcl").read_text()
SITE = (CDN / "varnish" / "site.vcl").read_text()
START = (CDN / "varnish" / "start").read_text()
FASTLY = (CDN / "fastly" / "flagstream.vcl").read_text()
RULES = {"varnish": POLICY, "fastly": FASTLY}

SETTINGS = load(StreamServerSettings, environ={})

STREAM, DOCUMENT, PASS, HEALTH, NOTHING = "stream", "document", "pass", "health", "nothing"


def body_of(vcl: str, name: str) -> str:
    """Return the body of a subroutine."""
    found = re.search(rf"^sub {name} \{{\n(.*?)^\}}", vcl, re.MULTILINE | re.DOTALL)
    assert found is not None, name
    return found[1]


@dataclass(frozen=True)
class Rule:
    patterns: list[re.Pattern[str]]
    kind: str
    methods: str | None


def rules(vcl: str) -> list[Rule]:
    """Return the branches of `fs_classify` in their order."""
    chain = body_of(vcl, "fs_classify").partition("\n\n")[0]
    found = []
    for branch in re.split(r"\} else if |^\s*if ", chain, flags=re.MULTILINE)[1:]:
        condition, _, then = branch.partition("{\n")
        patterns = [re.compile(pattern) for pattern in re.findall(r'req\.url ~ "([^"]+)"', condition)]
        assert patterns, condition
        methods = re.search(r'X-Fs-Methods = "([^"]+)"', then)
        if "fs_classify_document" in then:
            kind = DOCUMENT
        elif set_kind := re.search(r'X-Fs-Kind = "(\w+)"', then):
            kind = set_kind[1]
        else:
            assert re.search(r"[67]01", then), then
            kind = HEALTH
        found.append(Rule(patterns, kind, methods[1] if methods else None))
    return found


CHAINS = {name: rules(vcl) for name, vcl in RULES.items()}


def classify(edge: str, url: str) -> tuple[str, str | None]:
    for rule in CHAINS[edge]:
        if any(pattern.search(url) for pattern in rule.patterns):
            return rule.kind, rule.methods
    return NOTHING, None


def folded(vcl: str, url: str) -> str:
    """Return the URL of a stream as an edge asks an origin for it."""
    found = re.search(r'regsub\(req\.url, "(\^//\?sse[^"]+)", "([^"]+)"\)', vcl)
    assert found is not None
    return re.sub(found[1], found[2], url, count=1)


PARTS = st.sampled_from(
    [
        *("sse", "environments", "stream", "k", "A-b_9", "k.v", "%41", "", "..", "x" * 128, "x" * 129, "queue-change"),
        *("api", "v1", "flags", "identities", "environment-document", "analytics", "metrics", "health", "readiness"),
        *("ofrep", "evaluate", "my-flag", "liveness", "livez", "projects"),
    ]
)
URLS = st.builds(
    lambda parts, slash, query: "/" + "/".join(parts) + slash + query,
    st.lists(PARTS, max_size=6),
    st.sampled_from(["", "/"]),
    st.sampled_from(["", "?", "?v=5", "?lastEventId=/stream", "?x=1&v=7", "?identifier=a/b"]),
)


@given(URLS)
def test_both_edges_sort_every_path_alike(url: str) -> None:
    assert classify("varnish", url) == classify("fastly", url)


@given(URLS)
def test_the_edges_take_for_a_stream_what_the_stream_server_does(url: str) -> None:
    kind, _ = classify("varnish", url)
    path = url.partition("?")[0]
    assert (kind == STREAM) == (PATH.fullmatch(path) is not None)


@pytest.mark.parametrize(
    "url",
    [
        "/sse/environments/k/stream",
        "//sse/environments/k/stream/",
        "/sse/k/stream?lastEventId=3",
        "//sse/k/stream/?a=/b",
    ],
)
def test_aliases_are_one_key(url: str) -> None:
    assert {folded(vcl, url) for vcl in RULES.values()} == {"/sse/environments/k/stream"}
    assert {classify(edge, url)[0] for edge in RULES} == {STREAM}


@pytest.mark.parametrize(
    ("url", "kind", "methods"),
    [
        ("/sse/environments/k.v/stream", STREAM, None),
        ("/sse/environments/k/queue-change", NOTHING, None),
        ("/sse/environments/k/queue-change/?/stream", NOTHING, None),
        ("/api/v1/flags/", DOCUMENT, None),
        ("/api/v1/flags", DOCUMENT, None),
        ("/api/v1/environment-document/?v=3", DOCUMENT, None),
        ("/api/v1/identities/?identifier=u", PASS, "GET, HEAD, POST, OPTIONS"),
        ("/api/v1/analytics/flags/", PASS, "POST, OPTIONS"),
        ("/ofrep/v1/evaluate/flags", PASS, "POST, OPTIONS"),
        ("/ofrep/v1/evaluate/flags/banner", PASS, "POST, OPTIONS"),
        ("/health/readiness", HEALTH, None),
        ("/metrics", NOTHING, None),
        ("/api/projects", NOTHING, None),
        ("/api/v1/flags/../../projects", NOTHING, None),
        ("/", NOTHING, None),
    ],
)
def test_what_passes_the_edge_and_what_does_not(url: str, kind: str, methods: str | None) -> None:
    assert {classify(edge, url) for edge in RULES} == {(kind, methods)}


def test_versions_are_recognised_and_folded_alike() -> None:
    def versions(vcl: str) -> list[str]:
        return re.findall(r'req\.url !?~ "([^"]+)"|regsub\(req\.url, "([^"]+)"', body_of(vcl, "fs_classify_document"))

    assert versions(POLICY) == versions(FASTLY)
    assert len(versions(POLICY)) >= 5


def numbers(text: str, name: str) -> set[float]:
    return {float(value) for value in re.findall(rf"{name} ?= ?([0-9.]+)s?\b", text)}


def test_silence_is_cut_after_three_heartbeats_at_both() -> None:
    expected = {3 * SETTINGS.heartbeat}
    assert numbers(SITE, "between_bytes_timeout") == expected
    assert numbers(FASTLY, "between_bytes_timeout") == expected


def test_an_answer_may_take_longer_than_the_longest_stream() -> None:
    (total,) = numbers(START, "send_timeout")
    assert total > SETTINGS.lifetime


def test_connections_to_the_origin_are_given_up_before_it_closes_them() -> None:
    idle_at_the_origin = 30
    (idle,) = numbers(START, "backend_idle_timeout")
    assert idle < idle_at_the_origin


def test_origins_have_the_same_time_to_begin_at_both() -> None:
    fastly = numbers(body_of(FASTLY, "fs_backend_request"), "first_byte_timeout")
    while_none_is_ready = {1.0}
    streams = numbers(body_of(SITE, "fs_stream_backend"), "first_byte_timeout") - while_none_is_ready
    documents = numbers(body_of(SITE, "fs_document_backend"), "first_byte_timeout") - while_none_is_ready
    assert len(streams) == 2, "an origin's and the waiting room's"
    assert streams <= fastly
    assert documents <= fastly
    assert min(documents) > SETTINGS.upstream_timeout


def test_no_edge_has_a_join_window_of_its_own() -> None:
    """The ttl of a live stream comes from its headers; the only literal is the second below which nothing collapses."""
    for name, routine in (("varnish", "fs_stream_response"), ("fastly", "fs_fetch_stream")):
        body = body_of(RULES[name], routine)
        live = body[: body.index("beresp.status >= 400")]
        literal = numbers(live, r"set beresp\.ttl")
        caps = {3 * SETTINGS.heartbeat - 1} if name == "fastly" else set()
        assert literal <= {0.0, 1.0} | caps, name
    assert "max-age" in body_of(FASTLY, "fs_fetch_stream")
    assert "s-maxage" in body_of(POLICY, "fs_stream_response")


@pytest.mark.parametrize("name", RULES)
def test_nothing_is_served_after_its_time(name: str) -> None:
    text = RULES[name]
    assert numbers(text, "grace") <= {0.0}
    assert numbers(text, "keep") <= {0.0}
    assert numbers(text, "stale_while_revalidate") <= {0.0}
    assert numbers(text, "stale_if_error") <= {0.0}
    assert re.search(r"(grace|stale_while_revalidate) = 0s", text)


def test_errors_and_refusals_are_shared_for_the_same_time() -> None:
    def shared(vcl: str, routine: str) -> list[tuple[str, float]]:
        """Return (condition, ttl) of each branch on the status."""
        found = []
        for branch in re.split(r"\} else ", body_of(vcl, routine)):
            for ttl in re.findall(r"set beresp\.ttl = ([0-9.]+)(s|h)", branch):
                condition = re.match(r"if \((.*?)\) \{", branch)
                seconds = float(ttl[0]) * (3600 if ttl[1] == "h" else 1)
                found.append((condition[1] if condition else "else", seconds))
        return [each for each in found if "status" in each[0] or each[0] == "else"]

    streams = [shared(POLICY, "fs_stream_response")[-2:], shared(FASTLY, "fs_fetch_stream")[-2:]]
    assert streams[0] == streams[1] == [("beresp.status >= 400 && beresp.status < 500", 10.0), ("else", 1.0)]
    documents = [shared(POLICY, "fs_document_response"), shared(FASTLY, "fs_fetch_document")]
    assert documents[0][-2:] == documents[1][-2:] == [("beresp.status >= 500", 1.0), ("else", 10.0)]


def test_a_version_is_kept_for_the_same_time_on_the_same_conditions() -> None:
    for vcl, routine in ((POLICY, "fs_document_response"), (FASTLY, "fs_fetch_document")):
        body = body_of(vcl, routine)
        assert re.search(r"beresp\.ttl = (1h|3600s)", body)
        conditions = re.findall(r'(!?)beresp\.http\.([\w-]+)(?: (!?~|==) ("[^"]+")?)?', body)
        version, unversioned = conditions[:3], conditions[3:]
        assert sorted(version) == [
            ("", "Cache-Control", "~", '"immutable"'),
            ("", "X-Flagstream-Version", "==", ""),
            ("!", "X-Flagstream-Stale", "", ""),
        ]
        assert sorted(unversioned) == [
            ("", "Cache-Control", "!~", '"no-store"'),
            ("", "Surrogate-Key", "", ""),
            ("!", "X-Flagstream-Stale", "", ""),
        ]


def header(text: str, name: str) -> set[str]:
    values = set(re.findall(rf'{name} = "([^"]+)"', text))
    assert len(values) == 1, (name, values)
    return {part.strip().lower() for part in values.pop().split(",")}


def test_browsers_are_allowed_the_same_everywhere() -> None:
    allowed = {name: header(vcl, "Access-Control-Allow-Headers") for name, vcl in RULES.items()}
    assert allowed["varnish"] == allowed["fastly"]
    exposed = {name: header(vcl, "Access-Control-Expose-Headers") for name, vcl in RULES.items()}
    assert exposed["varnish"] == exposed["fastly"]
    for served in (cors.PREFLIGHT, DOCUMENT_PREFLIGHT):
        wanted = dict(served)[b"access-control-allow-headers"].decode()
        assert {part.strip().lower() for part in wanted.split(",")} <= allowed["varnish"]
    for told in (cors.ALLOWED, DOCUMENT_CORS):
        wanted = dict(told)[b"access-control-expose-headers"].decode()
        assert {part.strip().lower() for part in wanted.split(",")} <= exposed["varnish"]
    assert {re.search(r'Max-Age = "(\d+)"', vcl)[1] for vcl in RULES.values()} == {"86400"}  # type: ignore[index]


def test_refusals_and_last_resort_are_the_same() -> None:
    for status in ("404", "405", "204", "503"):
        assert all(re.search(rf"\b{status}\b", vcl) for vcl in RULES.values()), status
    assert re.search(r"std\.random\(2000, 10000\)", POLICY)
    assert re.search(r"randomint\(2000, 10000\)", FASTLY)
    for sentence in ("There is nothing at this path.", "This path takes ", "No origin answers. Try again."):
        assert all(sentence in vcl for vcl in RULES.values()), sentence
    streams = {name: re.search(r'"(GET, HEAD, OPTIONS)"', vcl) for name, vcl in RULES.items()}
    assert all(streams.values())
    assert cors.METHODS == "GET, HEAD, OPTIONS"


@pytest.mark.parametrize("name", RULES)
def test_what_one_client_says_is_dropped_at_both(name: str) -> None:
    dropped = set(re.findall(r"unset req\.http\.([A-Za-z-]+);", RULES[name]))
    wanted = {
        *("Cookie", "Authorization", "Range", "Cache-Control", "Pragma", "Origin", "Referer", "User-Agent"),
        *(
            "X-Forwarded-For",
            "Forwarded",
            "Accept",
            "Accept-Language",
            "If-None-Match",
            "If-Modified-Since",
            "Last-Event-ID",
            "X-Environment-Key",
        ),
        *("Accept-Encoding", "Surrogate-Key", "X-Fs-Kind", "X-Fs-Methods", "X-Fs-Version"),
    }
    assert wanted <= dropped
