"""What `web/` was built into: the widget that customers' pages load, and the page /demo with its assets."""

import gzip
import hashlib
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable

import msgspec
from litestar import Router, get
from litestar.params import FromPath

from milepost.edge import AnyRequest, Reply, encoded, header, page_headers
from milepost.problems import NO_SUCH_PATH, Problem

BUILT = files("milepost") / "web"
WIDGET = "widget/milepost-checklist.js"
TYPES = {
    "css": "text/css; charset=utf-8",
    "html": "text/html; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}
POLICY = (
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "img-src 'self' data:",
    "connect-src 'self'",
)
SHORT = {"Cache-Control": "public, max-age=300, stale-while-revalidate=86400"}
FOR_GOOD = {"Cache-Control": "public, max-age=31536000, immutable"}
ALWAYS_ASK = {"Cache-Control": "no-cache"}
ANY_PAGE = {"Access-Control-Allow-Origin": "*", "Cross-Origin-Resource-Policy": "cross-origin"}


class File(msgspec.Struct, frozen=True):
    """A built file: its bytes, the same compressed, and what names this state of it."""

    body: bytes
    compressed: bytes
    media_type: str
    tag: str


@cache
def _built() -> dict[str, File]:
    """Every built file by its path; they do not change while the service runs."""
    return dict(_found(BUILT, "")) if BUILT.is_dir() else {}


def _found(folder: Traversable, prefix: str) -> list[tuple[str, File]]:
    found: list[tuple[str, File]] = []
    for entry in sorted(folder.iterdir(), key=lambda each: each.name):
        path = prefix + entry.name
        if entry.is_dir():
            found += _found(entry, path + "/")
        elif media_type := TYPES.get(entry.name.rpartition(".")[2]):
            body = entry.read_bytes()
            tag = hashlib.sha256(body).hexdigest()[:32]
            found.append((path, File(body, gzip.compress(body, mtime=0), media_type, tag)))
    return found


def _file(path: str) -> File:
    """A built file.

    Raises:
        Problem: `no_such_path` where there is none, with what to do where nothing is built at all.
    """
    found = _built().get(path)
    if found is not None:
        return found
    if WIDGET not in _built():
        raise Problem(NO_SUCH_PATH, "This service was installed without its web files; `make web` builds them.")
    raise Problem(NO_SUCH_PATH, "There is no such file.")


def _sent(request: AnyRequest, file: File, headers: dict[str, str]) -> Reply:
    zipped = "gzip" in (header(request, b"accept-encoding") or "")
    # Another encoding is another representation, with a tag of its own (RFC 9110, section 8.8.3).
    tag = f'"{file.tag}-gzip"' if zipped else f'"{file.tag}"'
    headers = {"ETag": tag, "Vary": "Accept-Encoding", "X-Content-Type-Options": "nosniff", **headers}
    asked = [one.strip().removeprefix("W/") for one in (header(request, b"if-none-match") or "").split(",")]
    if tag in asked or "*" in asked:
        return Reply(304, encoded(headers))
    body = file.compressed if zipped else file.body
    headers |= {"Content-Type": file.media_type, "Content-Length": str(len(body))}
    if zipped:
        headers["Content-Encoding"] = "gzip"
    return Reply(200, encoded(headers), body)


@get("/widget/{name:str}")
async def widget(request: AnyRequest, name: FromPath[str]) -> Reply:
    """The widget, or its strings in another language, for a page of any origin."""
    return _sent(request, _file(f"widget/{name}"), SHORT | ANY_PAGE)


@get("/demo")
async def demo(request: AnyRequest) -> Reply:
    """A pretend application with the widget in it."""
    _require_demo(request)
    return _sent(request, _file("demo/index.html"), ALWAYS_ASK | page_headers(*POLICY))


@get("/demo/assets/{name:str}")
async def demo_asset(request: AnyRequest, name: FromPath[str]) -> Reply:
    """A script or style of the demo, whose name has a hash of what is in it."""
    _require_demo(request)
    return _sent(request, _file(f"demo/assets/{name}"), FOR_GOOD)


def _require_demo(request: AnyRequest) -> None:
    refused = request.app.state.settings.demo_refused
    if refused is not None:
        raise Problem(NO_SUCH_PATH, refused)


router = Router("/", route_handlers=[widget, demo, demo_asset])
