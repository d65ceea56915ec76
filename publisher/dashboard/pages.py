"""The pages: projects, one project's features, its environments, and the change log. They only read."""

from __future__ import annotations

from urllib.parse import urlencode

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.requests import Request
from starlette.responses import Response

from publisher import changes, environments, projects
from publisher.dashboard import matrix
from publisher.dashboard.log_lines import line
from publisher.dashboard.rendering import Renderer
from publisher.dashboard.snippets import snippets
from publisher.environments import Environment
from publisher.errors import NotFoundError
from publisher.models import Environment as EnvironmentRow
from publisher.models import Feature as FeatureRow
from publisher.models import Project as ProjectRow
from publisher.projects import LARGEST_ID, Project
from publisher.store import Store

__all__ = ["Pages"]

LINES = 50
"""Lines of the change log on one page."""

MOST_PROJECTS = 1000
MOST_ENVIRONMENTS = 100


class Pages:
    """Each method is a page, for a signed-in `actor`."""

    def __init__(self, renderer: Renderer, store: Store, stream_url: str) -> None:
        self._renderer = renderer
        self._store = store
        self._stream_url = stream_url

    async def projects(self, request: Request, actor: str) -> Response:
        """Show every project with how much is in it."""
        del request
        async with self._store.read() as session:
            found = await projects.listed(session, limit=MOST_PROJECTS)
            features, kept = await _counts(session, FeatureRow), await _counts(session, EnvironmentRow)
        content = [(project, features.get(project.id, 0), kept.get(project.id, 0)) for project in found]
        content.sort(key=lambda each: each[0].name.lower())
        return self._renderer.page("projects.html", projects=content, actor=actor)

    async def project(self, request: Request, actor: str) -> Response:
        """Show features as rows and environments as columns."""
        containing = _text(request, "q")
        page = _number(request.query_params.get("page", "1")) or 1
        async with self._store.read() as session:
            project, found = await self._project(session, request)
            content = await matrix.read(session, project.id, found, containing=containing, page=page)
        if page > content.pages:
            raise NotFoundError("page", str(page))
        return self._renderer.page(
            "project.html",
            project=project,
            environments=found,
            matrix=content,
            containing=containing,
            actor=actor,
        )

    async def environments(self, request: Request, actor: str) -> Response:
        """Show a project's environments with their keys and with lines to paste."""
        async with self._store.read() as session:
            project, found = await self._project(session, request)
        content = [(environment, snippets(environment, self._stream_url)) for environment in found]
        return self._renderer.page("environments.html", project=project, environments=content, actor=actor)

    async def changes(self, request: Request, actor: str) -> Response:
        """Show the change log, newest first."""
        asked = {name: _text(request, name) for name in _FILTERS}
        before = _number(request.query_params.get("before", ""))
        wanted = changes.Filter(
            project=asked["project"] or None,
            environment=asked["environment"] or None,
            feature=asked["feature"] or None,
            actor=asked["actor"] or None,
            action=asked["action"] if asked["action"] in changes.ACTIONS else None,
            pushed={"yes": True, "no": False}.get(asked["pushed"]),
        )
        async with self._store.read() as session:
            found = await changes.listed(session, wanted, before=before, limit=LINES + 1)
            named = (
                await session.execute(
                    select(EnvironmentRow.key, ProjectRow.name, EnvironmentRow.name)
                    .join(ProjectRow, ProjectRow.id == EnvironmentRow.project_id)
                    .order_by(func.lower(ProjectRow.name), EnvironmentRow.id)
                    .limit(MOST_PROJECTS)
                )
            ).all()
            listed = await projects.listed(session, limit=MOST_PROJECTS)
            ids = {project.name: project.id for project in listed}
        kept = {name: value for name, value in asked.items() if value}
        older = urlencode({**kept, "before": found[LINES - 1].id}) if len(found) > LINES else ""
        return self._renderer.page(
            "changes.html",
            lines=[line(change) for change in found[:LINES]],
            asked=asked,
            filtered=bool(kept),
            older=older,
            newest=urlencode(kept) if before is not None else None,
            projects=sorted(ids, key=str.lower),
            environments=named,
            actions=changes.ACTIONS,
            actor=actor,
        )

    async def _project(self, session: AsyncSession, request: Request) -> tuple[Project, list[Environment]]:
        number = _number(request.path_params["project"])
        if number is None:
            raise NotFoundError("project", str(request.path_params["project"])[:20])
        project = await projects.get(session, number)
        return project, await environments.listed(session, number, limit=MOST_ENVIRONMENTS)


async def _counts(session: AsyncSession, row: type[FeatureRow | EnvironmentRow]) -> dict[int, int]:
    """Return how many rows each project has."""
    found = await session.execute(select(row.project_id, func.count()).group_by(row.project_id))
    return dict(found.tuples().all())


_FILTERS = ("project", "environment", "feature", "actor", "action", "pushed")


def _text(request: Request, name: str) -> str:
    """Return what was asked for; PostgreSQL takes no NUL, and nothing has one in its name."""
    return request.query_params.get(name, "").replace("\0", "").strip()[:128]


def _number(text: str) -> int | None:
    """Return the id or page in `text`, None when it is none."""
    if not (text.isascii() and text.isdecimal() and len(text) <= len(str(LARGEST_ID))):
        return None
    number = int(text)
    return number if 0 < number <= LARGEST_ID else None
