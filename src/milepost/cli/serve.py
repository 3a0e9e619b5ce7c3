"""`milepost serve`: runs the service."""

import asyncio
import gc
import os
import socket
from typing import Annotated

import msgspec
import structlog
import typer
from granian import Granian
from granian.constants import Interfaces, Loops
from granian.log import LogLevels

from milepost.access.tokens import Verifier
from milepost.checklists.flags import TrackFlag
from milepost.cli import demo as demo_data
from milepost.cli.story import greet
from milepost.cli.terminal import (
    BAD_SETTINGS,
    UNAVAILABLE,
    WRONG_SCHEMA,
    DatabaseOption,
    Failure,
    settings_from,
)
from milepost.logs import configure
from milepost.problems import Problem
from milepost.properties.attributes import attributes_rule
from milepost.settings import Settings, SettingsError, exported
from milepost.store import versions

CALLS_AT_ONCE = 1_024
"""Calls that all workers together take on at a time; the server's own default."""


def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; 0 takes a free one.")] = None,
    workers: Annotated[int | None, typer.Option(help="Worker processes.")] = None,
    database: DatabaseOption = None,
    demo: Annotated[bool, typer.Option("--demo", help="Load the demo into an empty database; serve /demo.")] = False,
) -> None:
    """Run the service until it is told to stop; a stop answers what was accepted."""
    flags = {"host": host, "port": port, "workers": workers, "database": database, "demo": demo or None}
    settings = settings_from(**flags).settings
    configure(settings)
    settings = _with_port(settings)
    loaded = _prepared(settings)
    # The workers are processes of their own: the settings reach them through the environment.
    os.environ.update(exported(settings))
    server = Granian(
        "milepost.app:create",
        factory=True,
        address=settings.host,
        port=settings.port,
        interface=Interfaces.ASGI,
        workers=settings.workers,
        loop=Loops.uvloop,
        websockets=False,
        log_level=LogLevels.warning,
        workers_kill_timeout=settings.stop_timeout,
        # Streams stay open for long, and must not take the places of calls.
        backpressure=CALLS_AT_ONCE // settings.workers + settings.live_streams,
    )

    @server.on_startup
    def _greet() -> None:
        structlog.get_logger("milepost").info("serving", url=_url(settings), workers=settings.workers)
        if settings.demo:
            greet(settings, _url(settings), loaded=loaded)

    _share_memory()
    server.serve()


def _share_memory() -> None:
    """Keep the garbage collector from what is there by now: a worker's would write into every page that it shares."""
    gc.collect()
    gc.freeze()


def _with_port(settings: Settings) -> Settings:
    """The settings with a port that can be listened on."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.host, settings.port))
        except OSError as error:
            raise Failure(
                f"cannot listen on {settings.host} port {settings.port}: {error.strerror}; choose another with --port",
                BAD_SETTINGS,
            ) from None
        port: int = probe.getsockname()[1]
    return msgspec.structs.replace(settings, port=port)


def _url(settings: Settings) -> str:
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return f"http://{host}:{settings.port}"


def _prepared(settings: Settings) -> bool:
    """See that everything a worker needs is there; answers whether the demo was loaded."""
    # The workers are forked from this process. What it has imported they need not, and the pages it lies in are shared;
    # the other verbs do without.
    from milepost.app import sources_of  # noqa: PLC0415

    try:
        Verifier.from_settings(settings)
        attributes_rule(settings.attributes_schema)
        TrackFlag.from_settings(settings)
        sources_of(settings)
        return asyncio.run(_prepared_database(settings))
    except SettingsError as error:
        raise Failure(str(error), BAD_SETTINGS) from None
    except versions.WrongSchema as error:
        raise Failure(str(error), WRONG_SCHEMA) from None
    except Problem as problem:
        raise Failure(f"{settings.url.render_as_string()}: {problem.detail}", UNAVAILABLE) from None


async def _prepared_database(settings: Settings) -> bool:
    database = versions.open_database(settings)
    try:
        if settings.url.drivername == "sqlite":
            await database.write(versions.upgrade)
        await database.read(versions.check)
        return settings.demo and await demo_data.load(database)
    finally:
        await database.close()
