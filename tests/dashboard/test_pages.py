"""Pages: what they escape, where they fit, what they say, and what they never load or log."""

from __future__ import annotations

import re
from collections.abc import Callable

import httpx
import pytest
from playwright.sync_api import expect

from tests.dashboard.conftest import Site, Visitor
from tests.programs import ADMIN_TOKEN, SSE_TOKEN, publisher
from tests.servers import PostgresServer, wait_until

Visit = Callable[..., Visitor]

HOSTILE = ['<script>alert("p")</script>', "\"'><img src=x onerror=alert(1)> \u202eRTL\u202c", "W" * 100]
HOSTILE_VALUES = ['"><svg onload=alert(2)>', "'</script><script>alert(3)</script>", "v" * 5000]


@pytest.mark.browser
def test_hostile_names_stay_text_and_everything_fits_a_phone(site: Site, visit: Visit) -> None:
    project = site.project(*HOSTILE, name=HOSTILE[1])
    for name, value in zip(HOSTILE, HOSTILE_VALUES, strict=True):
        body = {"name": name.replace("/", "∕"), "value": value, "description": name * 3}
        site.api("POST", f"/api/projects/{project.id}/features", body)
    visitor = visit(viewport={"width": 390, "height": 844})
    page = visitor.page
    for url in (f"{site.url}/", project.url, f"{project.url}/environments", f"{site.url}/changes", f"{site.url}/none"):
        page.goto(url)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, url
        assert page.locator("main script, main img, main svg").count() == 0, url
    page.goto(project.url)
    expect(page.get_by_role("heading", level=1)).to_have_text(HOSTILE[1])
    expect(page.get_by_role("switch")).to_have_count(9)
    page.get_by_role("switch").first.click()
    expect(page.locator("#pushes li")).to_have_count(1)
    page.locator(".value").first.click()
    expect(page.locator("#editor")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert visitor.complained("404") == []


@pytest.mark.browser
def test_six_environments_are_listened_to_four_at_once_and_the_rest_on_demand(site: Site, visit: Visit) -> None:
    project = site.project(*(f"Env {number}" for number in range(6)), banner="a")
    page = visit(project.url, viewport={"width": 1600, "height": 900}).page
    state = page.locator("[data-live-state]")
    expect(page.locator("[data-live-state][data-state=live]")).to_have_count(4)
    expect(page.locator("#connection")).to_contain_text("Listening to 4 of 6 environments")
    expect(state.nth(5)).to_have_text("Not live")
    site.change(project.keys["Env 5"], "banner", enabled=False)
    state.nth(5).click()
    expect(state.nth(5)).to_have_text("Live")
    expect(page.locator("[data-live-state][data-state=live]")).to_have_count(4)
    # Listening begins with what was missed.
    expect(page.get_by_role("switch", name="banner in Env 5")).to_have_attribute("aria-checked", "false")


@pytest.mark.browser
def test_projects_and_environments_are_made_renamed_and_deleted(site: Site, visit: Visit) -> None:
    visitor = visit(f"{site.url}/")
    page = visitor.page
    page.get_by_role("button", name="New project").first.click()
    page.get_by_label("Name", exact=True).filter(visible=True).fill("Walk-through")
    page.get_by_role("button", name="Create project").click()
    expect(page.get_by_role("heading", name="No environments yet")).to_be_visible()
    page.get_by_role("link", name="Create an environment").click()
    page.get_by_label("Name", exact=True).filter(visible=True).fill("Staging")
    page.get_by_role("button", name="Create environment").click()
    section = page.get_by_role("region", name="Staging")
    key = section.locator(".key").first.inner_text()
    assert re.fullmatch("[A-Za-z0-9_-]{22}", key)
    assert "ser." + "•" * 16 in section.inner_text()
    server_key = site.api("GET", f"/api/environments/{key}")["server_key"]
    assert server_key not in page.content()
    section.get_by_role("button", name="Show server key").click()
    expect(section).to_contain_text(server_key)
    assert f"/sse/environments/{key}/stream" in section.get_by_role("tabpanel").inner_text()

    section.get_by_role("button", name="Delete Staging").click()
    delete = page.get_by_role("button", name="Delete environment")
    page.get_by_label("To confirm, type Staging").fill("staging")
    expect(delete).to_be_disabled()
    page.get_by_label("To confirm, type Staging").fill("Staging")
    delete.click()
    expect(page.get_by_role("heading", name="No environments yet")).to_be_visible()

    page.goto(f"{site.url}/")
    page.get_by_role("button", name="Rename Walk-through").click()
    page.get_by_label("Name", exact=True).filter(visible=True).fill("Renamed")
    page.get_by_role("button", name="Rename", exact=True).filter(visible=True).last.click()
    expect(page.get_by_role("link", name="Renamed")).to_be_visible()
    assert visitor.complained() == []


@pytest.mark.browser
def test_nothing_is_loaded_from_elsewhere(site: Site, visit: Visit) -> None:
    project = site.project("Development", banner="a")
    visitor = visit(project.url)
    expect(visitor.page.locator("[data-live-state]")).to_have_text("Live")
    foreign = [url for url in visitor.requested if not url.startswith((site.url, site.streams.url))]
    assert foreign == []
    assert any(url.startswith(site.streams.url) for url in visitor.requested)


def test_the_change_log_says_who_what_when_and_how_long_the_push_took(site: Site) -> None:
    project = site.project("Development", "Production", banner="a")
    bob = site.token("bob")
    site.change(project.keys["Production"], "banner", enabled=False, value=1.5, token=bob["token"])
    with httpx.Client(base_url=site.url) as client:
        client.post("/sign-in", data={"token": ADMIN_TOKEN})
        text = ""

        def is_pushed() -> bool:
            nonlocal text
            wanted = {"environment": project.keys["Production"], "actor": bob["name"]}
            text = re.sub(r"\s+", " ", re.sub("<[^>]*>", "", client.get("/changes", params=wanted).text))
            return "not yet pushed" not in text

        wait_until(is_pushed, "the push")
        assert f"{bob['name']} changed banner in" in text
        assert "was on → now off" in text
        assert "value was &#34;a&#34; → now 1.5" in text
        assert re.search(r"pushed after \d+(\.\d)? m?s", text)
        assert "No change matches" in client.get("/changes", params={"actor": "nobody"}).text
        assert client.get("/changes", params={"before": "x", "action": "y", "pushed": "z"}).status_code == 200


def test_the_change_log_has_pages(site: Site) -> None:
    project = site.project("Development", banner=0)
    path = f"/api/environments/{project.keys['Development']}/features/banner"
    with httpx.Client(base_url=site.url, headers={"X-Flagstream-Dashboard": "1"}) as client:
        client.post("/sign-in", data={"token": ADMIN_TOKEN})
        for number in range(1, 60):
            client.patch(path, json={"value": number}).raise_for_status()
        first = client.get("/changes", params={"environment": project.keys["Development"]}).text
        assert "now </span><bdi>59<" in first
        assert "now </span><bdi>5<" not in first
        [older] = re.findall(r'rel="next" href="([^"]*)"', first)
        second = client.get(older.replace("&amp;", "&")).text
        assert "now </span><bdi>5<" in second
        assert "now </span><bdi>59<" not in second


def test_every_page_carries_its_guards(site: Site) -> None:
    project = site.project("Development", banner="a")
    with httpx.Client(base_url=site.url, headers={"Accept": "text/html"}) as client:
        sign_in = client.get("/sign-in")
        client.post("/sign-in", data={"token": ADMIN_TOKEN})
        pages = [client.get(path) for path in ("/", f"/projects/{project.id}", "/changes", "/projects/999999", "/none")]
        assert [page.status_code for page in pages] == [200, 200, 200, 404, 404]
        for page in [sign_in, *pages]:
            policy = page.headers["content-security-policy"]
            assert "default-src 'none'" in policy
            assert f"connect-src 'self' {site.streams.url};" in policy
            assert "unsafe" not in policy
            assert page.headers["cache-control"] == "no-store"
            assert page.headers["x-frame-options"] == "DENY"
            assert page.headers["x-content-type-options"] == "nosniff"
            assert page.headers["referrer-policy"] == "same-origin"
            assert not re.search(r'<[^>]*\s(on\w+|style)="', page.text)


def test_no_key_and_no_token_is_logged(site: Site) -> None:
    project = site.project("Development", banner="a")
    key = project.keys["Development"]
    with httpx.Client(base_url=site.url) as client:
        client.post("/sign-in", data={"token": "guessed-token"})
        client.post("/sign-in", data={"token": ADMIN_TOKEN})
        client.get(f"/changes?environment={key}")
        client.get(f"/projects/{project.id}/environments")
        [cookie] = client.cookies.values()
    log = site.publisher.output()
    assert "listening" in log
    for secret in (key, "ser.", ADMIN_TOKEN, SSE_TOKEN, "guessed-token", cookie):
        assert secret not in log
    assert "Traceback" not in log


def test_pages_read_from_postgresql_too(site: Site, postgres_server: PostgresServer) -> None:
    database_url = postgres_server.create_database()
    program = publisher(site.folder, nats_url=site.nats_url, database_url=database_url, name="on-postgresql").start()
    try:
        headers = {"X-Flagstream-Dashboard": "1"}
        with httpx.Client(base_url=program.url, headers=headers, timeout=10, follow_redirects=True) as client:
            assert "No projects yet" in client.post("/sign-in", data={"token": ADMIN_TOKEN}).text
            assert "Nothing has changed yet" in client.get("/changes").text
            project = client.post("/api/projects", json={"name": "P"}).json()["id"]
            client.post(f"/api/projects/{project}/environments", json={"name": "Development"}).raise_for_status()
            for name in ("Ab_1", "abc", "other"):
                client.post(f"/api/projects/{project}/features", json={"name": name}).raise_for_status()
            assert "3 features" in client.get("/").text
            assert "1 environment<" in client.get("/").text
            # The filter takes % and _ for what they are, and small for capital letters.
            found = client.get(f"/projects/{project}?q=AB_").text
            assert re.findall('data-feature="([^"]*)"', found) == ["Ab_1"]
            assert "No change matches" in client.get("/changes?actor=nobody&pushed=no").text
            for hostile in ("%00", "%ff%fe", "9" * 30, "%F0%9F%9A%A9", "'--"):
                for path in (
                    f"/projects/{project}?q=",
                    f"/projects/{project}?page=",
                    "/changes?feature=",
                    "/changes?before=",
                ):
                    assert client.get(path + hostile).status_code == 200, path + hostile
                assert client.get(f"/projects/{hostile}").status_code == 404
            client.cookies.clear()
            forged = {"Cookie": f"flagstream_session_{program.url.rpartition(':')[2]}=9999999999.9999999999.x"}
            assert client.get("/api/projects", headers=forged).status_code == 401
    finally:
        program.kill()
