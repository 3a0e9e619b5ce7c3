"""Composes the application from Settings: the only place where everything meets."""

import asyncio
import gc
import signal
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from types import FrameType
from typing import TYPE_CHECKING

import structlog
from litestar import Litestar, Response, Router, get
from litestar.config.cors import CORSConfig
from litestar.exceptions import HTTPException
from litestar.handlers import HTTPRouteHandler
from litestar.plugins import PluginProtocol
from litestar.plugins.core import MsgspecDIPlugin

from milepost import demo_api, docs_page, pages
from milepost.access.service import Authenticator
from milepost.access.tokens import Verifier
from milepost.catalogs import api as catalogs_api
from milepost.catalogs import validation_api
from milepost.checklists import api as checklists_api
from milepost.checklists import preview_api, rehearsal_api
from milepost.checklists.flags import TrackFlag
from milepost.checklists.gains import bring_steps
from milepost.checklists.sources import FAILED_HEADER
from milepost.console import api as console_api
from milepost.console import people_api
from milepost.directory import api as directory_api
from milepost.directory import bulk_api
from milepost.domain.contract import Track
from milepost.domain.tracks import Strategy, by_memberships, experiment, fixed
from milepost.edge import AnyRequest, now
from milepost.envelope import Envelope, answer_failure, answer_framework_error, answer_problem
from milepost.funnels import api as funnels_api
from milepost.funnels.service import keep_folding
from milepost.live import api as live_api
from milepost.live.service import Live
from milepost.logs import configure
from milepost.openapi import Operation
from milepost.problems import UNAVAILABLE, Problem
from milepost.properties import api as properties_api
from milepost.properties.attributes import attributes_rule
from milepost.properties.service import Properties
from milepost.settings import Settings, load
from milepost.signals import api as signals_api
from milepost.signals.service import Signals
from milepost.store import versions
from milepost.store.database import Database

if TYPE_CHECKING:
    from milepost.signals.sources import Sources

log = structlog.get_logger("milepost")

HEALTH = {"type": "object", "required": ["status"], "properties": {"status": {"type": "string"}}}


class Application(Litestar):
    """The framework's application without its plugins for Pydantic and attrs: nothing here uses them, and the one for
    Pydantic takes a tenth of the start.
    """

    @staticmethod
    def _get_default_plugins(plugins: list[PluginProtocol]) -> list[PluginProtocol]:
        return [*plugins, MsgspecDIPlugin()]


def create(settings: Settings | None = None) -> "Envelope":
    """The ASGI application; without settings they are read from the environment.

    Raises:
        SettingsError: a setting cannot be used.
    """
    settings = settings or load().settings
    configure(settings)
    verifier = Verifier.from_settings(settings)
    fit_attributes = attributes_rule(settings.attributes_schema)
    track_flag = TrackFlag.from_settings(settings)
    signal_sources = sources_of(settings)

    @asynccontextmanager
    async def lifespan(app: Litestar) -> AsyncIterator[None]:
        database = versions.open_database(settings)
        authenticator = Authenticator(verifier, database)
        live = Live(database, authenticator, settings, now)
        app.state.update(
            settings=settings,
            database=database,
            authenticator=authenticator,
            live=live,
            properties=Properties(database, fit_attributes),
            signals=Signals(database),
            track_strategy=_track_strategy(settings),
            roles_gained=bring_steps,
            track_flag=track_flag,
            signal_sources=signal_sources,
        )
        running = _running(database, track_flag, signal_sources, live)
        async with running, _folding(database, settings.funnel_interval):
            _collect_seldom()
            yield

    app = Application(
        ROUTES if settings.demo_refused else [*ROUTES, demo_api.router],
        lifespan=[lifespan],
        openapi_config=None,
        exception_handlers={
            Problem: answer_problem,
            HTTPException: answer_framework_error,
            Exception: answer_failure,
        },
        cors_config=_cors(settings),
        logging_config=None,
    )
    return Envelope(app)


def sources_of(settings: Settings) -> "Sources | None":
    """The sources of signals that the settings name, None where there are none.

    Raises:
        SettingsError: one of them cannot be asked.
    """
    if not settings.signal_source_urls:
        return None
    # An HTTP client is imported only where somebody is asked.
    from milepost.signals.sources import Sources  # noqa: PLC0415

    return Sources.from_settings(settings)


def _collect_seldom() -> None:
    """Spare the garbage collector what stays for good, and have it look for cycles less often than for scripts."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


@asynccontextmanager
async def _running(
    database: Database, track_flag: TrackFlag | None, signal_sources: "Sources | None", live: Live
) -> AsyncIterator[None]:
    """What the application works with, from its start to its end."""
    async with AsyncExitStack() as stack:
        stack.push_async_callback(database.close)
        if signal_sources is not None:
            stack.push_async_callback(signal_sources.close)
        if track_flag is not None:
            stack.push_async_callback(track_flag.close)
            await track_flag.start()
        stack.push_async_callback(live.close)
        stack.enter_context(_told_to_stop(live.stop))
        yield


@contextmanager
def _told_to_stop(stop: Callable[[], None]) -> Iterator[None]:
    """Have `stop` called as soon as the process is told to end, beside what the server does then.

    The server ends the lifespan only when all is answered, which a stream never is.
    """
    loop = asyncio.get_running_loop()
    before: dict[signal.Signals, Callable[[int, FrameType | None], object]] = {}

    def tell(number: int, frame: FrameType | None) -> None:
        before[signal.Signals(number)](number, frame)
        loop.call_soon_threadsafe(stop)

    for each in (signal.SIGTERM, signal.SIGINT):
        handler = signal.getsignal(each)
        if callable(handler) and threading.current_thread() is threading.main_thread():
            before[each] = handler
            signal.signal(each, tell)
            signal.siginterrupt(each, False)  # noqa: FBT003 - it takes no keywords
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


@asynccontextmanager
async def _folding(database: Database, seconds: float) -> AsyncIterator[None]:
    """The journal is folded into the funnels meanwhile, unless nothing shall be."""
    if not seconds:
        yield
        return
    task = asyncio.create_task(keep_folding(database, seconds))
    task.add_done_callback(_tell_of_fault)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


def _tell_of_fault(task: asyncio.Task[None]) -> None:
    """Log why a task that should go on has ended; nobody else asks before the service stops."""
    if not task.cancelled() and (error := task.exception()) is not None:
        structlog.get_logger("milepost").error("funnels.failed", exc_info=error)


def _track_strategy(settings: Settings) -> Strategy:
    match settings.track:
        case "memberships" | "openfeature":
            # What a flag decides is known before; see checklists/flags.py.
            return by_memberships
        case "fixed":
            return fixed(Track(settings.track_fixed))
        case "experiment":
            return experiment(settings.track_share, settings.track_salt)


def _cors(settings: Settings) -> CORSConfig | None:
    if not settings.cors_origins:
        return None
    return CORSConfig(
        allow_origins=list(settings.cors_origins),
        allow_methods=["GET", "PUT", "PATCH", "POST", "DELETE"],
        allow_headers=["Authorization", "Content-Type", "If-Match", "If-None-Match", "Last-Event-ID", "X-Request-Id"],
        expose_headers=["ETag", "Content-Language", "X-Request-Id", "Retry-After", FAILED_HEADER],
        max_age=600,
    )


@get("/health/live", opt=Operation(action=None, answers={200: HEALTH}).opt())
async def live() -> Response[bytes]:
    """The process runs."""
    return Response(b'{"status":"live"}', media_type="application/json")


@get("/health/ready", opt=Operation(action=None, answers={200: HEALTH}).opt())
async def ready(request: AnyRequest) -> Response[bytes]:
    """The database answers and has the schema this release works with."""
    try:
        await request.app.state.database.read(versions.check)
    except versions.WrongSchema as wrong:
        raise Problem(UNAVAILABLE, str(wrong), headers={"Retry-After": "10"}) from None
    return Response(b'{"status":"ready"}', media_type="application/json")


ROUTES: list[HTTPRouteHandler | Router] = [
    properties_api.router,
    live_api.router,
    checklists_api.router,
    catalogs_api.router,
    validation_api.router,
    rehearsal_api.router,
    preview_api.router,
    signals_api.router,
    directory_api.router,
    bulk_api.router,
    funnels_api.router,
    console_api.router,
    people_api.router,
    docs_page.router,
    pages.router,
    live,
    ready,
]
"""Everything that is answered, but for what the page /demo calls."""
