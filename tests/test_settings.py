"""Where settings come from, how a wrong one is named, and what may be shown of them."""

from pathlib import Path

import pytest

from milepost.settings import Settings, SettingsError, exported, help_of, load, shown, variable


def test_without_anything_set_the_defaults_hold() -> None:
    loaded = load({})
    assert loaded.settings == Settings()
    assert set(loaded.sources.values()) == {"default"}
    assert loaded.unknown == []


def test_the_environment_wins_over_a_default() -> None:
    loaded = load({"MILEPOST_PORT": "9000"})
    assert loaded.settings.port == 9000
    assert loaded.sources["port"] == "environment"
    assert loaded.sources["host"] == "default"


def test_a_flag_wins_over_the_environment() -> None:
    loaded = load({"MILEPOST_PORT": "9000", "MILEPOST_HOST": "0.0.0.0"}, port=9001, host=None)  # noqa: S104
    assert (loaded.settings.port, loaded.sources["port"]) == (9001, "flag")
    assert (loaded.settings.host, loaded.sources["host"]) == ("0.0.0.0", "environment")  # noqa: S104


def test_the_environment_of_the_process_is_read_where_none_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MILEPOST_PORT", "9002")
    assert load().settings.port == 9002


def test_an_empty_variable_leaves_an_optional_setting_out() -> None:
    assert load({"MILEPOST_TOKEN_ISSUER": ""}).settings.token_issuer is None


def test_a_list_is_read_from_commas() -> None:
    settings = load({"MILEPOST_CORS_ORIGINS": "https://a.example, https://b.example,"}).settings
    assert settings.cors_origins == ("https://a.example", "https://b.example")


def test_a_file_is_read_as_a_path() -> None:
    assert load({"MILEPOST_JWKS_FILE": "keys/jwks.json"}).settings.jwks_file == Path("keys/jwks.json")
    assert load({}, jwks_file="jwks.json").settings.jwks_file == Path("jwks.json")


def test_a_variable_that_is_no_setting_is_told() -> None:
    assert load({"MILEPOST_PROT": "1", "MILEPOST_A": "", "PATH": "/bin"}).unknown == ["MILEPOST_A", "MILEPOST_PROT"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MILEPOST_PORT", "http"),
        ("MILEPOST_PORT", "-1"),
        ("MILEPOST_PORT", "65536"),
        ("MILEPOST_WORKERS", "0"),
        ("MILEPOST_TOKEN_LEEWAY", "301"),
        ("MILEPOST_LOG_LEVEL", "loud"),
        ("MILEPOST_LOG_FORMAT", "xml"),
        ("MILEPOST_MAX_BODY", "1.5"),
        ("MILEPOST_TRACK", "openfeature"),
        ("MILEPOST_TRACK_PROVIDER", "flags"),
        ("MILEPOST_TRACK_PROVIDER", "flags:"),
        ("MILEPOST_SIGNAL_SOURCES", "https://billing.example/"),
        ("MILEPOST_SIGNAL_SOURCES", "Billing=https://billing.example/"),
        ("MILEPOST_SIGNAL_SOURCES", "1st=https://billing.example/"),
        ("MILEPOST_SIGNAL_SOURCES", "billing="),
        ("MILEPOST_SIGNAL_SOURCES", "billing=billing.example"),
        ("MILEPOST_SIGNAL_SOURCES", "billing=ftp://billing.example/"),
        ("MILEPOST_SIGNAL_SOURCES", "billing=https:///signals"),
        ("MILEPOST_SIGNAL_SOURCES", "billing=https://billing.example:99999/"),
        ("MILEPOST_SIGNAL_SOURCES", "billing=https://user:hidden@billing.example/"),
        ("MILEPOST_SIGNAL_SOURCES", "billing=https://billing.example/a b"),
        ("MILEPOST_SIGNAL_SOURCES", "billing=https://billing.example/#part"),
        ("MILEPOST_SIGNAL_SOURCES", "crm=https://a.example,crm=https://b.example"),
        ("MILEPOST_SIGNAL_SOURCE_TIMEOUT", "0"),
        ("MILEPOST_SIGNAL_SOURCE_TIMEOUT", "31"),
        ("MILEPOST_SIGNAL_SOURCE_TOKEN", "two words"),
        ("MILEPOST_DATABASE", "not a url"),
        ("MILEPOST_DATABASE", "mysql://host/name"),
        ("MILEPOST_DATABASE", "sqlite://"),
        ("MILEPOST_DATABASE", "sqlite:///:memory:"),
    ],
)
def test_a_value_that_cannot_be_used_is_refused_by_its_variables_name(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=name):
        load({name: value})


def test_a_flag_that_cannot_be_used_is_refused_by_its_variables_name() -> None:
    with pytest.raises(SettingsError, match="MILEPOST_PORT"):
        load({}, port=70_000)


def test_a_database_that_cannot_be_used_is_refused_without_its_password() -> None:
    with pytest.raises(SettingsError) as caught:
        load({"MILEPOST_DATABASE": "mysql://user:hidden@host/name"})
    assert "hidden" not in str(caught.value)


@pytest.mark.parametrize(
    ("database", "file"),
    [
        ("sqlite:///data.db", "data.key.pem"),
        ("sqlite:////var/lib/milepost.db", "/var/lib/milepost.key.pem"),
        ("postgresql://user@host/name", "milepost.key.pem"),
    ],
)
def test_the_own_key_lies_beside_the_data(database: str, file: str) -> None:
    assert Settings(database=database).own_key_file == Path(file)


def test_the_own_key_lies_where_the_setting_says() -> None:
    assert Settings(signing_key_file=Path("/keys/own.pem")).own_key_file == Path("/keys/own.pem")


def test_sources_are_read_by_their_names() -> None:
    settings = load(
        {"MILEPOST_SIGNAL_SOURCES": "crm-2=http://localhost:9000/?a=b, billing=https://billing.example"}
    ).settings
    assert settings.signal_source_urls == {"crm-2": "http://localhost:9000/?a=b", "billing": "https://billing.example"}


def test_a_token_of_the_sources_is_not_shown() -> None:
    assert shown("signal_source_token", "hidden") == "***"
    assert shown("signal_source_token", None) == ""


def test_a_token_of_the_sources_that_cannot_be_used_is_refused_without_it() -> None:
    with pytest.raises(SettingsError) as caught:
        load({"MILEPOST_SIGNAL_SOURCE_TOKEN": "hidden words"})
    assert "hidden" not in str(caught.value)


def test_a_shown_database_hides_its_password() -> None:
    text = shown("database", "postgresql://user:hidden@host/name")
    assert text == "postgresql://user:***@host/name"


@pytest.mark.parametrize(
    ("field", "value", "text"),
    [
        ("port", 8080, "8080"),
        ("token_issuer", None, ""),
        ("cors_origins", ("https://a.example", "https://b.example"), "https://a.example, https://b.example"),
        ("jwks_file", Path("jwks.json"), "jwks.json"),
    ],
)
def test_any_other_value_is_shown_as_it_would_be_written(field: str, value: object, text: str) -> None:
    assert shown(field, value) == text


@pytest.mark.parametrize(
    "settings",
    [
        Settings(),
        Settings(
            database="postgresql://user:p%40ss@host/name",
            port=0,
            workers=4,
            jwks_file=Path("/keys/jwks.json"),
            token_algorithms=("ES256", "RS256"),
            token_issuer="https://issuer.example",
            cors_origins=("https://a.example", "https://b.example"),
            log_level="debug",
            track="openfeature",
            track_provider="package.flags:provider",
            signal_sources=("billing=https://billing.example/?a=b", "crm=http://localhost:9000"),
            signal_source_timeout=0.5,
            signal_source_token="hidden",
        ),
    ],
)
def test_worker_processes_read_the_same_settings_from_what_is_exported(settings: Settings) -> None:
    assert load(exported(settings)).settings == settings


@pytest.mark.parametrize("field", Settings.__struct_fields__)
def test_every_setting_has_a_variable_and_says_what_it_is_for(field: str) -> None:
    assert variable(field) == f"MILEPOST_{field.upper()}"
    assert help_of(field)
