"""Sign-ins: who gets in, for how long, and what other sites cannot do."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from playwright.sync_api import expect

from publisher.dashboard.origin import own_path
from tests.dashboard.conftest import Site, Visitor
from tests.programs import ADMIN_TOKEN
from tests.servers import wait_until

Visit = Callable[..., Visitor]


@contextmanager
def signed_in(site: Site, token: str = ADMIN_TOKEN, url: str = "") -> Iterator[httpx.Client]:
    with httpx.Client(base_url=url or site.url, timeout=10) as client:
        answer = client.post("/sign-in", data={"token": token})
        assert answer.status_code == 303, answer.text
        yield client


@pytest.mark.browser
def test_signing_in_leads_to_the_page_asked_for_and_signing_out_ends_it(site: Site, visit: Visit) -> None:
    project = site.project("Development")
    page = visit(signed_in=False).page
    page.goto(f"{project.url}/environments")
    expect(page).to_have_url(re.compile(r"/sign-in\?next=/projects/\d+/environments$"))
    page.get_by_label("Admin token").fill("wrong")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert").filter(has_text="unknown or revoked")).to_be_visible()
    page.get_by_label("Admin token").fill(ADMIN_TOKEN)
    page.get_by_role("button", name="Sign in").click()
    expect(page).to_have_url(f"{project.url}/environments")
    [cookie] = page.context.cookies()
    assert (cookie["httpOnly"], cookie["sameSite"], cookie["path"]) == (True, "Strict", "/")
    assert ADMIN_TOKEN not in cookie["value"]

    page.get_by_role("button", name="Sign out").click()
    expect(page).to_have_url(f"{site.url}/sign-in")
    assert page.context.cookies() == []
    page.goto(project.url)
    expect(page).to_have_url(re.compile("/sign-in"))


@pytest.mark.browser
def test_a_change_after_the_session_is_over_says_so(site: Site, visit: Visit) -> None:
    project = site.project("Development", banner="a")
    page = visit(project.url).page
    page.context.clear_cookies()
    button = page.get_by_role("switch", name="banner in Development")
    button.click()
    expect(page.get_by_role("alert").filter(has_text="Not saved: your session is over")).to_be_visible()
    expect(button).to_have_attribute("aria-checked", "true")
    page.locator("td").get_by_role("button", name="Sign in again").click()
    expect(page).to_have_url(re.compile(r"/sign-in\?next="))


def test_a_session_holds_at_every_publisher_and_over_a_restart_until_it_expires(site: Site) -> None:
    with signed_in(site) as client:
        [value] = client.cookies.values()
        another = site.another_publisher(session_lifetime=1).start()
        try:
            cookies = {f"flagstream_session_{another.url.rpartition(':')[2]}": value}
            with httpx.Client(base_url=another.url, cookies=cookies) as there:
                assert there.get("/api/projects").status_code == 200
            with signed_in(site, url=another.url) as short:
                [(name, value)] = short.cookies.items()
            # A browser forgets the cookie in the same second; the server must not rely on that.
            kept = {"Cookie": f"{name}={value}"}
            assert httpx.get(another.url, headers=kept).status_code == 200
            wait_until(lambda: httpx.get(another.url, headers=kept).status_code == 303, "the end of a session", 5)
            assert httpx.get(f"{another.url}/api/projects", headers=kept).status_code == 401
        finally:
            another.kill()
        site.publisher.kill()
        site.publisher.start()
        assert client.get("/").status_code == 200


def test_a_revoked_token_ends_its_sessions(site: Site) -> None:
    token = site.token("leaver")
    with signed_in(site, token["token"]) as client:
        assert token["name"] in client.get("/").text
        site.api("DELETE", f"/api/tokens/{token['id']}")
        assert client.get("/").status_code == 303
        assert client.get("/api/projects").status_code == 401


@pytest.mark.parametrize(
    "forge",
    [
        lambda cookie: cookie[:-1] + ("0" if cookie[-1] != "0" else "1"),
        lambda cookie: "1" + cookie[1:],
        lambda cookie: cookie.replace(".", ".9", 1),
        lambda cookie: cookie.rpartition(".")[0] + ".",
        lambda _: "0.99999999999.é",
        lambda _: "9" * 5000 + ".1.1",
        lambda _: "..",
    ],
)
def test_a_forged_cookie_opens_nothing(site: Site, forge: Callable[[str], str]) -> None:
    with signed_in(site) as client:
        [(name, value)] = client.cookies.items()
        header = f"{name}={forge(value)}".encode()
        assert httpx.get(f"{site.url}/api/projects", headers={b"Cookie": header}).status_code == 401


def test_other_sites_can_neither_change_anything_nor_sign_anybody_in_or_out(site: Site) -> None:
    project = site.project("Development", banner="a")
    path = f"/api/environments/{project.keys['Development']}/features/banner"
    with signed_in(site) as client:
        refused = client.patch(path, json={"enabled": False})
        assert refused.status_code == 403
        assert "X-Flagstream-Dashboard" in refused.json()["detail"]
        assert site.state(project.keys["Development"], "banner")["enabled"] is True
        for foreign in (
            {"Sec-Fetch-Site": "cross-site"},
            {"Sec-Fetch-Site": "same-site"},
            {"Origin": "https://evil.test"},
        ):
            assert client.post("/sign-in", data={"token": ADMIN_TOKEN}, headers=foreign).status_code == 403
            assert client.post("/sign-out", headers=foreign).status_code == 403
        assert client.get("/").status_code == 200
        assert client.patch(path, json={"enabled": False}, headers={"X-Flagstream-Dashboard": "1"}).status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        "//evil.test",
        "/\\evil.test",
        "/\t/evil.test",
        "https://evil.test",
        "javascript:alert(1)",
        "evil",
        "",
        "/sign-out",
    ],
)
def test_signing_in_never_leads_to_another_site(path: str, site: Site) -> None:
    assert own_path(path) == "/"
    answer = httpx.post(f"{site.url}/sign-in", data={"token": ADMIN_TOKEN, "next": path})
    assert answer.headers["location"] == "/"


def test_sessions_name_their_actor_in_the_change_log(site: Site) -> None:
    project = site.project("Development", banner="a")
    token = site.token("carol")
    path = f"/api/environments/{project.keys['Development']}/features/banner"
    with signed_in(site, token["token"]) as client:
        client.patch(path, json={"enabled": False}, headers={"X-Flagstream-Dashboard": "1"}).raise_for_status()
    changes: Any = site.api("GET", f"/api/changes?environment={project.keys['Development']}&limit=1")
    assert changes["items"][0]["actor"] == token["name"]
