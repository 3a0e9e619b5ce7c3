"""Every setting, typed, from `MILEPOST_*` and the command's flags; nothing else reads the environment."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_type_hints
from urllib.parse import urlsplit

import msgspec
from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

PREFIX = "MILEPOST_"
SECRETS = {"signal_source_token"}
CALLABLE = re.compile(r"\w+(\.\w+)*:\w+(\.\w+)*")
LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
SOURCE_NAME = re.compile("[a-z][a-z0-9_-]*")

Positive = Annotated[int, msgspec.Meta(ge=1)]


class SettingsError(ValueError):
    """A setting that cannot be used; the message names it and says what it takes."""


def about(meaning: str) -> msgspec.Meta:
    return msgspec.Meta(description=meaning)


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The service's settings. Field `x` is read from `MILEPOST_X`."""

    database: Annotated[str, about("sqlite:///relative.db, sqlite:////absolute.db or postgresql://user@host/name")] = (
        "sqlite:///milepost.db"
    )
    host: Annotated[str, about("address to listen on")] = "127.0.0.1"
    port: Annotated[int, msgspec.Meta(ge=0, le=65535, description="port to listen on")] = 8080
    workers: Annotated[Positive, about("worker processes")] = 1
    demo: Annotated[
        bool, about("load the demo into an empty database, and serve the page /demo; for trying out only")
    ] = False

    jwks_file: Annotated[Path | None, about("file with the JWKS that user tokens are checked against")] = None
    jwks_url: Annotated[str | None, about("URL of that JWKS, fetched again when a token names an unknown key")] = None
    public_key_file: Annotated[Path | None, about("file with one public key in PEM")] = None
    signing_key_file: Annotated[
        Path | None,
        about("the service's own Ed25519 key, made when no other key is set; default: beside the data"),
    ] = None
    token_algorithms: Annotated[tuple[str, ...], about("JWS algorithms accepted in tokens, comma-separated")] = (
        "EdDSA",
        "Ed25519",
        "ES256",
        "RS256",
        "PS256",
    )
    token_issuer: Annotated[str | None, about("value that a token's `iss` must have")] = None
    token_audience: Annotated[str | None, about("value that a token's `aud` must contain")] = None
    token_leeway: Annotated[
        int, msgspec.Meta(ge=0, le=300, description="seconds a token's times may be off (clock skew)")
    ] = 30

    track: Annotated[
        Literal["memberships", "fixed", "experiment", "openfeature"],
        about(
            "how a user's track is decided: by earlier enterprise memberships, always the same, by a share, by a flag"
        ),
    ] = "memberships"
    track_fixed: Annotated[Literal["A", "B"], about("with `fixed`: the track that everybody is on")] = "A"
    track_share: Annotated[
        float, msgspec.Meta(ge=0, le=1, description="with `experiment`: the share of users on track B")
    ] = 0.5
    track_salt: Annotated[str, about("what the share is drawn with: another text draws anew")] = "milepost"
    track_provider: Annotated[
        str | None, about("with `openfeature`: the function that makes the provider, package.module:callable")
    ] = None
    track_flag: Annotated[str, about("with `openfeature`: key of the flag, a string that is A or B")] = (
        "onboarding-track"
    )

    signal_sources: Annotated[tuple[str, ...], about("what a refresh asks for signals: name=url, comma-separated")] = ()
    signal_source_timeout: Annotated[
        float, msgspec.Meta(gt=0, le=30, description="seconds that a source may take to answer")
    ] = 2
    signal_source_token: Annotated[
        Annotated[str, msgspec.Meta(pattern="^[!-~]+$")] | None, about("bearer token that every source is asked with")
    ] = None

    attributes_schema: Annotated[Path | None, about("file with a JSON Schema that `attributes` must fit")] = None
    max_body: Annotated[Positive, about("largest request body, bytes")] = 1_048_576
    cors_origins: Annotated[tuple[str, ...], about("origins that may call from a browser, comma-separated")] = ()

    live_streams: Annotated[Positive, about("most streams of live updates open at a time, per worker")] = 500
    live_streams_per_caller: Annotated[Positive, about("most of those for one user or service key, per worker")] = 20
    live_heartbeat: Annotated[Positive, about("seconds after which a stream without news says that it is alive")] = 15
    public_url: Annotated[
        str | None, about("address under which browsers reach the service; default: where it listens")
    ] = None
    console_hours: Annotated[
        int, msgspec.Meta(ge=1, le=168, description="hours that a sign-in to the console lasts at most")
    ] = 12

    funnel_interval: Annotated[
        float, msgspec.Meta(ge=0, le=3600, description="seconds after which a worker counts what is new; 0: never")
    ] = 1

    pool_size: Annotated[Positive, about("database connections per worker, reading and writing each")] = 4
    batch_size: Annotated[Positive, about("most requests that share one query or one commit")] = 64
    database_timeout: Annotated[Positive, about("seconds a query may take before the caller gets 503")] = 10
    log_level: Annotated[Literal["debug", "info", "warning", "error"], about("least level that is logged")] = "info"
    log_format: Annotated[Literal["auto", "json", "console"], about("auto: console on a terminal")] = "auto"
    stop_timeout: Annotated[Positive, about("seconds a stop waits for accepted requests")] = 30

    @property
    def url(self) -> URL:
        """The database's URL, parsed.

        Raises:
            SettingsError: it is not a URL this service can use.
        """
        try:
            url = make_url(self.database)
        except ArgumentError:
            raise SettingsError(f"{PREFIX}DATABASE is not a database URL; it takes {help_of('database')}") from None
        if url.drivername not in {"sqlite", "postgresql"}:
            raise SettingsError(
                f"{PREFIX}DATABASE names {url.drivername!r}; it takes {help_of('database')}",
            )
        if url.drivername == "sqlite" and url.database in {None, "", ":memory:"}:
            raise SettingsError(f"{PREFIX}DATABASE must name a file; it takes {help_of('database')}")
        return url

    @property
    def signal_source_urls(self) -> dict[str, str]:
        """The URL of each source of signals, by its name.

        Raises:
            SettingsError: an entry is not name=url, or a name is given twice.
        """
        urls: dict[str, str] = {}
        for entry in self.signal_sources:
            name, _, url = entry.partition("=")
            if not SOURCE_NAME.fullmatch(name):
                raise SettingsError(
                    f"{variable('signal_sources')} takes name=url, the name as in `billing`: small letters, "
                    "digits, - and _; a comma within a URL is written %2C"
                )
            if name in urls:
                raise SettingsError(f"{variable('signal_sources')} names {name} twice; give each source its own name")
            if not _is_web_address(url):
                raise SettingsError(
                    f"{variable('signal_sources')}: {name} needs a URL such as https://billing.example/signals"
                )
            urls[name] = url
        return urls

    @property
    def demo_refused(self) -> str | None:
        """Why the page /demo is not served; None where it is. It lets anyone be the demo's user."""
        if not self.demo:
            return "The demo is served by `milepost serve --demo` alone."
        if self.host not in LOOPBACK:
            return "The demo lets anyone in, so it is served only on this machine: use `--host 127.0.0.1`."
        if self.jwks_file or self.jwks_url or self.public_key_file:
            return "The demo signs tokens with the service's own key, and here tokens are checked against others."
        return None

    @property
    def origin(self) -> str:
        """The scheme, host and port under which browsers reach the service.

        Raises:
            SettingsError: `public_url` is none, or has more than that.
        """
        if self.public_url is None:
            host = f"[{self.host}]" if ":" in self.host else self.host
            return f"http://{host}:{self.port}"
        parts = urlsplit(self.public_url) if _is_web_address(self.public_url) else None
        if parts is None or parts.path not in {"", "/"} or parts.query:
            raise SettingsError(f"{variable('public_url')} must be an address such as https://milepost.example")
        return f"{parts.scheme}://{parts.netloc}".lower()

    @property
    def own_key_file(self) -> Path:
        """Where the service keeps its own signing key: beside a SQLite file, else in the working folder."""
        if self.signing_key_file is not None:
            return self.signing_key_file
        if self.url.drivername == "sqlite" and self.url.database:
            return Path(self.url.database).with_suffix(".key.pem")
        return Path("milepost.key.pem")


def help_of(field: str) -> str:
    """What a setting is for, in a line."""
    metadata = get_type_hints(Settings, include_extras=True)[field].__metadata__
    return "".join(note.description or "" for note in metadata if isinstance(note, msgspec.Meta))


def variable(field: str) -> str:
    """The environment variable that sets a field."""
    return PREFIX + field.upper()


class Sourced(msgspec.Struct, frozen=True):
    """Settings, for each field where its value came from (`flag`, `environment` or `default`), and the
    `MILEPOST_*` variables that are no setting (perhaps a typo, so the command warns of them)."""

    settings: Settings
    sources: dict[str, str]
    unknown: list[str]


def load(environment: Mapping[str, str] | None = None, **flags: object) -> Sourced:
    """Read the settings; a flag that is not None wins over the environment.

    Raises:
        SettingsError: a value cannot be used.
    """
    environment = os.environ if environment is None else environment
    fields = Settings.__struct_fields__
    values: dict[str, object] = {}
    sources = dict.fromkeys(fields, "default")
    unknown: list[str] = []
    for name, raw in environment.items():
        if name.startswith(PREFIX):
            field = name.removeprefix(PREFIX).lower()
            if field in fields:
                values[field] = _split(field, raw)
                sources[field] = "environment"
            else:
                unknown.append(name)
    for field, value in flags.items():
        if value is not None:
            values[field] = value
            sources[field] = "flag"
    try:
        settings = msgspec.convert(values, Settings, strict=False, dec_hook=_path)
    except msgspec.ValidationError as error:
        raise SettingsError(_explained(error)) from None
    _ = settings.url, settings.signal_source_urls, settings.origin
    _require_track_provider(settings)
    return Sourced(settings, sources, sorted(unknown))


def _path(type_: type[Any], value: object) -> Path:
    if type_ is Path and isinstance(value, (str, Path)):
        return Path(value)
    raise NotImplementedError(type_)


def _split(field: str, raw: str) -> object:
    if isinstance(getattr(Settings(), field), tuple):
        return tuple(part.strip() for part in raw.split(",") if part.strip())
    return raw or None


def _require_track_provider(settings: Settings) -> None:
    setting = variable("track_provider")
    if settings.track_provider is None:
        if settings.track == "openfeature":
            raise SettingsError(f"{variable('track')} is openfeature, so {setting} must be set as well")
    elif not CALLABLE.fullmatch(settings.track_provider):
        raise SettingsError(f"{setting} must be package.module:callable")


def _is_web_address(text: str) -> bool:
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError:
        return False
    plain = re.fullmatch("[!-~]+", text) is not None and not parts.fragment
    return plain and parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.username is None


def _explained(error: msgspec.ValidationError) -> str:
    reason, _, path = str(error).partition(" - at `$.")
    field = path.rstrip("`").partition("[")[0]
    return f"{variable(field)}: {reason}" if field else reason


def exported(settings: Settings) -> dict[str, str]:
    """The settings as environment variables, for worker processes."""
    variables: dict[str, str] = {}
    for field in settings.__struct_fields__:
        value = getattr(settings, field)
        if value is not None:
            variables[variable(field)] = ",".join(value) if isinstance(value, tuple) else str(value)
    return variables


def shown(field: str, value: object) -> str:
    """A value as it may be shown: passwords and secrets masked."""
    if field in SECRETS and value is not None:
        return "***"
    if field == "database":
        return make_url(str(value)).render_as_string(hide_password=True)
    return ", ".join(value) if isinstance(value, tuple) else ("" if value is None else str(value))
