"""The rules of policy.vcl, each as a case of varnishtest; and that the cases fail when a rule is taken away."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.servers import missing

VARNISH = Path(__file__).parent.parent.parent / "cdn" / "varnish"
CASES = sorted(path.stem for path in (VARNISH / "tests").glob("*.vtc"))
AT_ONCE = 6
COMPILER = "exec cc -w -O0 -fpic -shared -o %o %s"
"""Varnish compiles each configuration from C; optimising it is most of what a case costs."""

PATIENCE = 30
"""Seconds that a case may take; one takes one or two."""

IMPATIENCE = 8
"""Seconds for a case that is to fail: some do it by waiting for what never comes."""


@dataclass(frozen=True, slots=True)
class Fault:
    """A rule that is broken by putting `now` where `was` is, once, and the case that must notice."""

    what: str
    was: str
    now: str
    case: str


FAULTS = [
    Fault("finished streams are replayed", "!resp.is_streaming && ", "false && ", "finished_stream"),
    Fault("ended waiting is replayed", " || resp.http.X-Flagstream-Waiting", "", "waiting_ends"),
    Fault("the second round hits the finished stream again", "set req.ttl = std", "#", "finished_stream"),
    Fault(
        "the second round does not collapse",
        'set req.ttl = std.duration(req.http.X-Fs-Older-Than + "s", 1s);',
        "set req.hash_always_miss = true;",
        "finished_stream",
    ),
    Fault("a flat ttl", "if (beresp.ttl < 1s) {", "set beresp.ttl = 15m; if (beresp.ttl < 1s) {", "join_window"),
    Fault("any max-age is a join window", '!~ "s-maxage"', '!~ "x-maxage" && false', "join_window"),
    Fault("what is private is not shared", "if (beresp.ttl < 1s) {", "if (false) {", "join_window"),
    Fault("the query is part of the key", '"/sse/environments/\\1/stream");', "req.url);", "keys"),
    Fault("aliases are keys of their own", "[^/?]+)/stream/?(?:\\?.*)?$", "[^/?]+)/stream(?:\\?.*)?$", "keys"),
    Fault("HEAD opens a stream", 'req.method == "HEAD" && req.http.X-Fs-Kind == "stream"', "false", "methods"),
    Fault(
        "a client takes the key out of a shared request",
        "set req.http.X-Environment-Key = req.http.X-Environment-Key;",
        "",
        "hop_by_hop",
    ),
    Fault("odd keys reach the origin", 'set req.url = "/sse/environments/!/stream";', "", "keys"),
    Fault("keys of any length", "{1,128}/stream", "+/stream", "keys"),
    Fault("cookies are kept", "unset req.http.Cookie;", "", "dropped_headers"),
    Fault("ranges are kept", "unset req.http.Range;", "", "dropped_headers"),
    Fault("credentials reach shared streams", "unset req.http.Authorization;", "", "dropped_headers"),
    Fault("Last-Event-ID is kept", "unset req.http.Last-Event-ID;", "", "dropped_headers"),
    Fault("streams may be compressed", "unset bereq.http.Accept-Encoding;", "", "dropped_headers"),
    Fault("the key in a header splits streams", "unset req.http.X-Environment-Key;", "", "dropped_headers"),
    Fault("the second round can be forged", "unset req.http.X-Fs-Older-Than;", "", "dropped_headers"),
    Fault("keeping can be forged", "unset req.http.X-Fs-Keep-Unversioned;", "", "unversioned_documents"),
    Fault("draining can be forged", "unset req.http.X-Fs-Draining;", "", "health"),
    Fault("Set-Cookie is shared", "unset beresp.http.Set-Cookie;", "", "dropped_headers"),
    Fault("Vary splits streams", "unset beresp.http.Vary;", "", "dropped_headers"),
    Fault(
        "browsers may cache streams", '"no-store, no-transform";\n        }', '"public";\n        }', "dropped_headers"
    ),
    Fault("purging names reach clients", "unset resp.http.Surrogate-Key;", "", "dropped_headers"),
    Fault("outer edges are not told", "client.ip !~ fs_tiers", "client.ip ~ fs_tiers", "tiers"),
    Fault("one origin is tried", "if (bereq.retries < 2) {", "if (false) {", "another_origin"),
    Fault("no second connection", '"^/sse/" && bereq.retries < 2', '"^/sse/" && bereq.retries < 0', "another_origin"),
    Fault("the waiting room is never asked", "if (bereq.retries < 2) {", "if (bereq.retries < 1) {", "waiting_room"),
    Fault("clients get errors on the stream path", "return (synth(702));", "", "last_resort"),
    Fault("a retry without a time", '"retry: " + std', '"retri: " + std', "last_resort"),
    Fault(
        "refusals are not kept",
        "set beresp.ttl = 10s;\n    } else {\n        # A",
        "} else {\n# A",
        "document_failures",
    ),
    Fault(
        "failures are not shared",
        "# One failed try a second and key, shared by all who ask meanwhile.\n    set beresp.ttl = 1s;",
        "",
        "last_resort",
    ),
    Fault("a POST may be repeated", ' && (bereq.method == "GET" || bereq.method == "HEAD")', "", "document_failures"),
    Fault("another version is kept", '== regsub(bereq.url, "^.*\\?v=", "")', '!= ""', "documents"),
    Fault("stale documents are kept", "&& !beresp.http.X-Flagstream-Stale) {", ") {", "documents"),
    Fault("what may change is kept", '~ "immutable"', '~ "."', "documents"),
    Fault("environments share documents", "hash_data(req.http.X-Environment-Key);", "", "documents"),
    Fault("documents are kept without an environment", " || !req.http.X-Environment-Key", "", "unversioned_documents"),
    Fault("one feature is kept as all", '"[?&]feature="', '"[?&]featured="', "unversioned_documents"),
    Fault("what cannot be purged is kept", "(beresp.http.Surrogate-Key && ", "(", "purge"),
    Fault(
        "stale documents without a version are kept",
        "\n            && !beresp.http.X-Flagstream-Stale) {",
        ") {",
        "purge",
    ),
    Fault("what is known to be old is kept", '&& beresp.http.Cache-Control !~ "no-store"', "", "purge"),
    Fault("anybody may purge", "client.ip !~ fs_purgers", "client.ip ~ fs_purgers", "purge_refused"),
    Fault("a purge may be any ban", "if (req.http.Surrogate-Key !~", "if (false && req.http.Surrogate-Key !~", "purge"),
    Fault("any method passes", "return (synth(405));", "return (pass);", "methods"),
    Fault("preflights reach the origin", 'if (req.method == "OPTIONS") {', "if (false) {", "methods"),
    Fault("unknown paths reach the origin", "return (synth(404));", "return (pass);", "methods"),
    Fault("paths are looked for anywhere", '"^//?sse/(environments/)?[^?]*/', '"//?sse/(environments/)?.*/', "methods"),
    Fault(
        "personal answers are cached",
        'if (req.http.X-Fs-Kind == "pass") {\n        return (pass);',
        "if (false) {",
        "passed",
    ),
]


def run(case: Path, seconds: int) -> subprocess.CompletedProcess[str]:
    command = ["varnishtest", "-t", str(seconds), "-p", f"cc_command='{COMPILER}'", str(case)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def workers() -> Iterator[ThreadPoolExecutor]:
    if shutil.which("varnishtest") is None:
        missing("varnishtest", "varnish")
    with ThreadPoolExecutor(AT_ONCE) as pool:
        yield pool


@pytest.fixture(scope="module")
def results(workers: ThreadPoolExecutor) -> dict[str, Future[subprocess.CompletedProcess[str]]]:
    return {case: workers.submit(run, VARNISH / "tests" / f"{case}.vtc", PATIENCE) for case in CASES}


@pytest.mark.parametrize("case", CASES)
def test_rule(case: str, results: dict[str, Future[subprocess.CompletedProcess[str]]]) -> None:
    done = results[case].result()
    assert done.returncode == 0, done.stdout[-6000:]


def _without(fault: Fault, folder: Path) -> subprocess.CompletedProcess[str]:
    shutil.copytree(VARNISH / "tests", folder / "tests")
    policy = (VARNISH / "policy.vcl").read_text()
    assert policy.count(fault.was) >= 1, f"policy.vcl has no {fault.was!r} any more"
    (folder / "policy.vcl").write_text(policy.replace(fault.was, fault.now))
    return run(folder / "tests" / f"{fault.case}.vtc", IMPATIENCE)


@pytest.fixture(scope="module")
def broken(workers: ThreadPoolExecutor) -> Iterator[dict[str, Future[subprocess.CompletedProcess[str]]]]:
    # Not in pytest's own folder: Varnish compiles as another user, who may not read that.
    with tempfile.TemporaryDirectory(prefix="flagstream-policy-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield {fault.what: workers.submit(_without, fault, folder / str(number)) for number, fault in enumerate(FAULTS)}
        workers.shutdown(cancel_futures=True)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.what.replace(" ", "_"))
def test_case_fails_when(fault: Fault, broken: dict[str, Future[subprocess.CompletedProcess[str]]]) -> None:
    done = broken[fault.what].result()
    assert done.returncode != 0, f"{fault.case} does not notice"
    assert "Message from VCC-compiler" not in done.stdout, "a fault must be VCL that compiles"
