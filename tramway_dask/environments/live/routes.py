"""What the scheduler's web server answers at ``/tramway``."""

from __future__ import annotations

import contextlib
import json
import re
from importlib.resources import files
from typing import TYPE_CHECKING, Any, ClassVar

from tornado import web

if TYPE_CHECKING:
    from .plugin import LivePage

__all__ = ["add_page"]

SCRIPTS = ("page.js", "model.js", "tiles.js", "large.js", "maps.js")
FILES = {
    "tramway": ("page.html", "text/html; charset=UTF-8"),
    "tramway/page.css": ("page.css", "text/css; charset=UTF-8"),
    **{f"tramway/{name}": (name, "text/javascript; charset=UTF-8") for name in SCRIPTS},
}
# the page loads what this server gives, and nothing else
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'"
)
UNITS_AT_ONCE = 48


def add_page(page: LivePage, scheduler: Any) -> bool:
    """Add the live page to a scheduler's dashboard; tell whether it has one."""
    prefix = _prefix(scheduler.http_application)
    if prefix is None:
        return False
    root = re.escape(prefix)
    given = {"page": page}
    routes: list[Any] = [(f"{root}/{path}", _File, {"name": path}) for path in FILES]
    routes += [
        (f"{root}/tramway/", web.RedirectHandler, {"url": f"{prefix}/tramway"}),
        (f"{root}/tramway/state", _State, given),
        (f"{root}/tramway/maps", _Maps, given),
    ]
    scheduler.http_application.add_application(web.Application(routes, log_function=lambda handler: None))
    _add_link(scheduler)
    return True


def _prefix(application: Any) -> str | None:
    """Return the path under which the dashboard is; None if it is turned off.

    The server that answers for its health is there without a dashboard too, maybe for everybody to reach.
    """
    for one in application.applications:
        if hasattr(one, "app_paths"):  # Bokeh's
            return "/" + one.prefix.strip("/") if one.prefix.strip("/") else ""
    for rule in application.wildcard_router.rules:
        # Bokeh is not installed: a page says so
        found = re.fullmatch(r"(.*)/status\$?", getattr(getattr(rule.matcher, "regex", None), "pattern", ""))
        if found:
            return re.sub(r"\\(.)", r"\1", found.group(1))
    return None


def _add_link(scheduler: Any) -> None:
    """Link the page from the dashboard's bar; without, it is found by its address."""
    with contextlib.suppress(ImportError, AttributeError, KeyError, TypeError):
        from distributed.dashboard.scheduler import template_variables

        pages = template_variables(scheduler)["pages"]
        if "tramway" not in pages:
            pages.insert(1, "tramway")


class _Handler(web.RequestHandler):
    def set_default_headers(self) -> None:
        self.set_header("Content-Security-Policy", POLICY)
        self.set_header("X-Content-Type-Options", "nosniff")
        self.set_header("Referrer-Policy", "no-referrer")
        self.set_header("Cache-Control", "no-store")

    def write_error(self, status_code: int, **_: Any) -> None:
        self.set_header("Content-Type", "text/plain; charset=UTF-8")
        self.finish(f"{status_code}: {self._reason}")


class _File(_Handler):
    held: ClassVar[dict[str, bytes]] = {}

    def initialize(self, name: str) -> None:
        self.name = name

    def get(self) -> None:
        file, kind = FILES[self.name]
        if file not in self.held:
            self.held[file] = files(__package__).joinpath(file).read_bytes()
        self.set_header("Content-Type", kind)
        self.finish(self.held[file])


class _Data(_Handler):
    def initialize(self, page: LivePage) -> None:
        self.page = page

    def number(self, name: str, default: int) -> int:
        try:
            return int(self.get_query_argument(name, str(default)))
        except ValueError:
            raise web.HTTPError(400, reason=f"{name}: expected a whole number") from None

    def answer(self, text: str) -> None:
        self.set_header("Content-Type", "application/json; charset=UTF-8")
        self.finish(text)


class _State(_Data):
    async def get(self) -> None:
        page, wanted = self.page, self.get_query_argument("run", "")
        run = page.latest(wanted)
        if run is None:
            self.answer(json.dumps({"runs": []}))
            return
        await page.refresh(run)
        # what was asked for may be gone: the page begins anew with what is given
        since = self.number("since", -1) if run.name == wanted else -1
        scheduler = page.scheduler
        told: dict[str, Any] = {
            "runs": [[r.name, r.about["title"], r.about["began"]] for r in page.runs.values()],
            "run": run.name,
            "elapsed": run.elapsed,
            "version": run.version,
            "ended": run.ended,
            "how": run.how,
            "connected": page.connected(run),
            "workers": len(scheduler.workers),
            "threads": scheduler.total_nthreads,
            "changes": run.changes(since),
            **run.working(scheduler),
        }
        if since < 0:
            told["about"] = {
                **run.about,
                "units": [[*p, s] for p, s in zip(run.places, run.status, strict=True)],
            }
        self.answer(json.dumps(told, separators=(",", ":")))


class _Maps(_Data):
    async def get(self) -> None:
        run = self.page.runs.get(self.get_query_argument("run", ""))
        if run is None:
            raise web.HTTPError(404, reason="this run is not known any more")
        words = [w for w in self.get_query_argument("units", "").split(",") if w]
        if not words or len(words) > UNITS_AT_ONCE or not all(w.isdecimal() and len(w) < 10 for w in words):
            raise web.HTTPError(400, reason=f"units: expected 1 to {UNITS_AT_ONCE} numbers")
        units = [int(w) for w in words if int(w) < len(run.places)]
        maps = await self.page.fetch(run, units, max(0, self.number("segment", 0)))
        # each is JSON already
        self.answer("{" + ",".join(f'"{unit}":{text}' for unit, text in maps.items()) + "}")
