"""Fastly's VCL: linted and unit-tested by falco, and each unit test held to what it claims by breaking its rule.

falco runs one node: it neither streams nor collapses. What only Fastly's network can show is the live checklist of
cdn/fastly/README.md.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FASTLY = ROOT / "cdn" / "fastly"
VCL = FASTLY / "flagstream.vcl"
PINNED = ROOT / ".venv" / "falco" / "falco"


@pytest.fixture(scope="module")
def falco() -> str:
    """The pinned falco; skipped without one even in CI, because only Go can build it."""
    if not PINNED.exists():
        pytest.skip("falco is not built: it needs Go, and scripts/servers builds it where Go is installed")
    return str(PINNED)


COLOURS = re.compile(r"\x1b\[[0-9;]*m")


def run(falco: str, command: str, folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [falco, command, *options, "-I", str(folder), str(folder / "tests" / "service.vcl")],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
        check=False,
        cwd=folder,
    )
    done.stdout = COLOURS.sub("", done.stdout)  # where CI=true it writes them to a file, too
    return done


def test_lint_finds_nothing_at_its_strictest(falco: str) -> None:
    done = run(falco, "lint", FASTLY, "-vv")
    assert done.returncode == 0, done.stdout
    assert re.search(r"\b0 errors,.*\b0 warnings,.*\b0 recommendations", done.stdout), done.stdout


def test_every_rule_holds_in_its_unit_test(falco: str) -> None:
    done = run(falco, "test", FASTLY)
    assert done.returncode == 0, done.stdout
    declared = sum(path.read_text().count("@suite:") for path in (FASTLY / "tests").glob("*.test.vcl"))
    passed = re.search(r"(\d+) passed, 0 failed, 0 skipped", done.stdout)
    assert passed is not None, done.stdout
    assert int(passed[1]) >= declared > 80


BREAKAGES = [
    ("the ttl is flat", 'subfield(beresp.http.Surrogate-Control, "max-age", ",")', '"20"'),
    ("Age is ignored", "    set beresp.ttl -= std.atoi(beresp.http.Age);\n", ""),
    ("decimals make a lifetime unreadable", 'regsub(beresp.http.X-Stream-Lifetime, "\\..*$", "")', '"0"'),
    ("a window outlives its stream", "if (beresp.ttl > var.left) {", "if (false) {"),
    ("a silent body is fresh when it is taken for complete", "> 44s", "> 440s"),
    ("no floor", "if (beresp.ttl < 1s) {", "if (false) {"),
    ("stale streams are served", "set beresp.stale_if_error = 0s;", ""),
    ("stale streams are served while they are asked for", "set beresp.stale_while_revalidate = 0s;", ""),
    ("nothing is streamed", "set beresp.do_stream = true;", ""),
    ("streams are compressed", "set beresp.gzip = false;", ""),
    ("streams are compressed by brotli", "set beresp.brotli = false;", ""),
    ("the query stays", '"/sse/environments/\\1/stream");', '"/sse/environments/\\1/stream") "?x";'),
    ("the short path is another stream", "(?:environments/)?([^/?]+)", "((?:environments/)?[^/?]+)"),
    ("impossible keys have streams of their own", 'set req.url = "/sse/environments/!/stream";', ""),
    ("an empty answer is a stream", "set beresp.status = 503;", ""),
    ("errors are not shared", '    set beresp.status = 503;\n    set beresp.response = "No Stream";\n    set beresp.ttl = 1s;', "    set beresp.status = 503;\n    set beresp.ttl = 0s;"),  # noqa: E501 - a part of the VCL
    ("a 503 is let out", "resp.status >= 500 && req.restarts < 2", "resp.status >= 600 && req.restarts < 2"),
    ("the waiting room is asked for ever", 'set req.http.X-Fs-Place = "nowhere";', ""),
    ("a tier gets the finished body", 'if (req.http.X-Fs-Asker == "client") {\n      set', "if (true) {\n      set"),
    ("the waiting room shares the origin's key", 'set req.hash += " waiting";', ""),
    ("a sick origin is asked", "!backend.F_origin.healthy", "false"),
    ("the shield is skipped", "!req.backend.is_shield && !backend", "!backend"),
    ("clustering stays off", 'set req.http.Fastly-Force-Shield = "1";', ""),
    ("clients turn clustering off", "unset req.http.Fastly-No-Shield;", ""),
    ("clients send themselves to the waiting room", "  unset req.http.X-Fs-Place;\n  unset req.http.X-Fs-Asker", "  unset req.http.X-Fs-Asker"),  # noqa: E501 - a part of the VCL
    ("cookies reach shared streams", "unset req.http.Cookie;", ""),
    ("anybody purges", 'set req.http.Fastly-Purge-Requires-Auth = "1";', ""),
    ("HEAD opens a stream", 'req.method == "HEAD" && req.http.X-Fs-Kind == "stream"', "false"),
    ("POST reaches a stream", 'req.method == "POST" && req.http.X-Fs-Methods ~ "POST"', 'req.method == "POST"'),
    ("publishing passes the edge", 'error 604 "Not Found";', 'set req.http.X-Fs-Kind = "pass";'),
    ("environments share a document", "set req.hash += req.http.X-Environment-Key;", ""),
    ("a lagging document is kept", "beresp.http.X-Flagstream-Version == req.http.X-Fs-Version", "true"),
    ("a stale document is kept", "&& !beresp.http.X-Flagstream-Stale) {\n        set", ") {\n        set"),
    ("what cannot be purged is kept", "if (beresp.http.Surrogate-Key && ", "if ("),
    ("what must not be stored is kept", 'beresp.http.Cache-Control !~ "no-store" && ', ""),
    ("what is old already is kept", '"no-store" && !beresp.http.X-Flagstream-Stale', '"no-store"'),
    ("unversioned documents are kept", '"document_ttl", "0")) > 0', '"document_ttl", "0")) >= 0'),
    ("two tiers keep what one purge has to find", "&& req.backend.is_shield) {\n    return(pass)", "&& false) {\n    return(pass)"),  # noqa: E501 - a part of the VCL
    ("surrogate keys reach clients", "unset resp.http.Surrogate-Key;", ""),
    ("tiers lose the join window", 'if (req.http.X-Fs-Asker == "client") {\n    call', "if (true) {\n    call"),
    ("browsers keep streams", '"no-store, no-transform"', '"no-transform"'),
    ("silence lasts longer than three heartbeats", "between_bytes_timeout = 45s", "between_bytes_timeout = 60s"),
    ("keys are logged", "set var.environment = substr(", "set var.environment = var.key substr("),
    ("server keys are logged", '&& var.key ~ "^[A-Za-z0-9_-]{1,128}$"', ""),
    ("digests are not keyed", "digest.hmac_sha256(var.secret, var.key)", "digest.hash_sha256(var.key)"),
]  # fmt: skip


def test_breaking_a_rule_fails_its_unit_test(falco: str, tmp_path: Path) -> None:
    sound = VCL.read_text()

    def missed(case: tuple[int, tuple[str, str, str]]) -> str:
        number, (claim, rule, broken) = case
        assert rule in sound, f"the VCL no longer holds {rule!r}"
        folder = tmp_path / str(number)
        shutil.copytree(FASTLY / "tests", folder / "tests")
        (folder / "flagstream.vcl").write_text(sound.replace(rule, broken))
        done = run(falco, "test", folder)
        # An assertion has to fail; a VCL that cannot be read would prove nothing.
        caught = re.search(r"[1-9]\d* failed", done.stdout) and "Assertion" in done.stdout
        return "" if caught else f"{claim}: {done.stdout[-300:]}"

    with ThreadPoolExecutor(2) as pool:
        faults = list(filter(None, pool.map(missed, enumerate(BREAKAGES))))
    assert not faults, "\n".join(faults)


# What falco cannot be asked: it takes "//" for the beginning of a host.
@pytest.mark.parametrize(
    ("url", "key"),
    [
        ("/sse/environments/k/stream", "k"),
        ("//sse/environments/k/stream", "k"),
        ("//sse/k/stream/?lastEventId=1", "k"),
        ("/sse/" + "k" * 128 + "/stream", "k" * 128),
        ("/sse/" + "k" * 129 + "/stream", None),
        ("///sse/k/stream", None),
        ("/sse/k.l/stream", None),
        ("/sse/k/streams", None),
        ("/sse/k/stream//", None),
    ],
)
def test_path_of_a_stream(url: str, key: str | None) -> None:
    text = VCL.read_text()
    is_stream = re.search(r'if \(req\.url ~ "(\^//\?sse/[^"]*)"\)', text)
    folded = re.search(r'regsub\(req\.url, "(\^//\?sse/[^"]*)", "([^"]*)"\)', text)
    assert is_stream is not None
    assert folded is not None
    assert bool(re.search(is_stream[1], url)) == (key is not None)
    if key is not None:
        assert re.sub(folded[1], folded[2], url) == f"/sse/environments/{key}/stream"


def test_no_object_is_fresh_when_a_silent_body_is_taken_for_complete() -> None:
    text = VCL.read_text()
    silence = re.search(r"between_bytes_timeout = (\d+)s;", text)
    cap = re.search(r"if \(beresp\.ttl > (\d+)s\)", text)
    assert silence is not None
    assert cap is not None
    assert int(cap[1]) < int(silence[1])
