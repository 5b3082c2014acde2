from __future__ import annotations

import os
from pathlib import Path

import pytest
from pydantic import ValidationError

from riptide.errors import InvalidSettingsError
from riptide.settings.settings import Settings, ignored_variables, load_settings


def test_an_empty_environment_gives_the_defaults() -> None:
    settings = load_settings()
    assert (settings.host, settings.port) == ("127.0.0.1", 8080)
    assert settings.log == "sqlite"
    assert settings.data_dir == Path("riptide-data")


def test_every_setting_is_read_from_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    given = {
        "RIPTIDE_HOST": "::",
        "RIPTIDE_PORT": "0",
        "RIPTIDE_LOG": "memory",
        "RIPTIDE_DATA_DIR": "elsewhere",
        "RIPTIDE_LOG_LEVEL": "error",
        "RIPTIDE_LOG_FORMAT": "json",
        "RIPTIDE_SLOW_CONSUMER": "latest",
        "RIPTIDE_ALLOW_ANONYMOUS": "True",
        "RIPTIDE_TOKEN_IN_QUERY": "True",
        "RIPTIDE_JWKS_URL": "https://id.example/keys",
        "RIPTIDE_JETSTREAM_REPLICAS": "5",
    }
    lists = {
        "topic_labels",
        "allowed_hosts",
        "allowed_origins",
        "trusted_proxies",
        "jetstream_urls",
    }
    numbers = set(Settings.model_fields) - {name[8:].lower() for name in given} - lists
    given |= {f"RIPTIDE_{name}".upper(): "7" for name in numbers}
    for variable, value in given.items():
        monkeypatch.setenv(variable, value)
    read = {f"RIPTIDE_{name}".upper(): str(value) for name, value in load_settings()}
    for name in lists:
        del read[f"RIPTIDE_{name.upper()}"]
    assert {name: value.removesuffix(".0") for name, value in read.items()} == given


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("RIPTIDE_PORT", "65536"),
        ("RIPTIDE_PORT", "-1"),
        ("RIPTIDE_PORT", "http"),
        ("RIPTIDE_PORT", ""),
        ("RIPTIDE_HOST", ""),
        ("RIPTIDE_LOG", "nats"),
        ("RIPTIDE_LOG_LEVEL", "INFO"),
        ("RIPTIDE_LOG_FORMAT", "xml"),
        ("RIPTIDE_RING_MESSAGES", "0"),
        ("RIPTIDE_RING_MESSAGES", "1.5"),
        ("RIPTIDE_HEARTBEAT_SECONDS", "0"),
        ("RIPTIDE_HEARTBEAT_SECONDS", "nan"),
        ("RIPTIDE_RETENTION_SECONDS", "inf"),
        ("RIPTIDE_DRAIN_SECONDS", "-1"),
        ("RIPTIDE_SLOW_CONSUMER", "drop"),
        ("RIPTIDE_ALLOW_ANONYMOUS", "perhaps"),
        ("RIPTIDE_JWKS_URL", "file:///etc/passwd"),
        ("RIPTIDE_TOKEN_COOKIE", "a b"),
        ("RIPTIDE_TOKEN_LEEWAY_SECONDS", "301"),
        ("RIPTIDE_ALLOWED_ORIGINS", "app.example"),
        ("RIPTIDE_ALLOWED_ORIGINS", "https://app.example/"),
        ("RIPTIDE_ALLOWED_ORIGINS", "https://*.example"),
        ("RIPTIDE_METRICS_PORT", "metrics"),
        ("RIPTIDE_HEAD_TIMEOUT_SECONDS", "0"),
        ("RIPTIDE_SLOW_CONSUMER", "prices.*=latest,a b=disconnect"),
        ("RIPTIDE_MAX_LAG_SECONDS", "nan"),
        ("RIPTIDE_ACCEPT_RATE", "0"),
        ("RIPTIDE_PUBLISH_RATE", "nan"),
        ("RIPTIDE_JETSTREAM_URLS", "http://127.0.0.1:4222"),
        ("RIPTIDE_JETSTREAM_URLS", ","),
        ("RIPTIDE_JETSTREAM_REPLICAS", "2"),
        ("RIPTIDE_JETSTREAM_REPLICAS", "7"),
        ("RIPTIDE_JETSTREAM_STREAM", "a.b"),
        ("RIPTIDE_APPEND_TIMEOUT_SECONDS", "0.5"),
        ("RIPTIDE_INSTANCE", "a b"),
        ("RIPTIDE_TRUSTED_PROXIES", "*"),
        ("RIPTIDE_TRUSTED_PROXIES", "10.0.0.0/33"),
        ("RIPTIDE_TRUSTED_PROXIES", "proxy.example.com"),
    ],
)
def test_a_bad_value_is_named_with_what_was_given_and_what_is_allowed(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(InvalidSettingsError) as caught:
        load_settings()
    allowed = Settings.model_fields[variable[8:].lower()].description
    assert str(caught.value) == f"{variable} is {value!r}, but must be {allowed}"


def test_all_bad_values_are_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RIPTIDE_PORT", "x")
    monkeypatch.setenv("RIPTIDE_LOG", "x")
    with pytest.raises(InvalidSettingsError, match=r"RIPTIDE_PORT is .*; RIPTIDE_LOG is "):
        load_settings()


def test_settings_do_not_change_after_they_were_read() -> None:
    with pytest.raises(ValidationError):
        load_settings().port = 1  # type: ignore[misc]  # the point of the test


@pytest.mark.parametrize("name", Settings.model_fields)
def test_a_value_that_is_not_utf8_is_the_name_of_a_file_or_refused(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(f"RIPTIDE_{name}".upper(), os.fsdecode(b"caf\xe9"))
    if "Path" in str(Settings.model_fields[name].annotation):
        assert isinstance(getattr(load_settings(), name), Path)
        return
    with pytest.raises(InvalidSettingsError) as refused:
        load_settings()
    assert str(refused.value).isprintable()


def test_every_setting_says_what_it_is_and_what_it_allows() -> None:
    for field in Settings.model_fields.values():
        assert field.title
        assert field.description


def test_a_variable_that_means_nothing_is_pointed_out_with_what_it_resembles(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for variable in ("RIPTIDE_PROT", "RIPTIDE_QQQQQQQQQQQQ", "RIPTIDE_PORT", "RIPTIDE_URL"):
        monkeypatch.setenv(variable, "1")
    assert ignored_variables() == [
        "RIPTIDE_PROT is not a setting of Riptide; did you mean RIPTIDE_PORT?",
        "RIPTIDE_QQQQQQQQQQQQ is not a setting of Riptide",
    ]


def test_topic_labels_are_given_with_commas_between(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RIPTIDE_TOPIC_LABELS", "orders, logs.eu ,")
    assert load_settings().topic_labels == ("orders", "logs.eu")


@pytest.mark.parametrize("value", ["a b", "x" * 200, ",".join(f"t{n}" for n in range(51))])
def test_topic_labels_that_are_no_topics_or_too_many_are_refused(
    monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("RIPTIDE_TOPIC_LABELS", value)
    with pytest.raises(InvalidSettingsError, match=r"RIPTIDE_TOPIC_LABELS .* up to 50"):
        load_settings()


def test_origins_are_given_with_commas_between(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RIPTIDE_ALLOWED_ORIGINS", "https://a.example, http://[::1]:8080,*")
    assert load_settings().allowed_origins == ("https://a.example", "http://[::1]:8080", "*")


def test_a_policy_by_topic_is_kept_as_it_was_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RIPTIDE_SLOW_CONSUMER", "prices.*=latest, *=drop_oldest")
    assert load_settings().slow_consumer == "prices.*=latest, *=drop_oldest"


def test_trusted_proxies_are_addresses_and_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RIPTIDE_TRUSTED_PROXIES", "127.0.0.1, 10.1.2.3/8,fd00::/8")
    assert load_settings().trusted_proxies == ("127.0.0.1/32", "10.0.0.0/8", "fd00::/8")


@pytest.mark.parametrize("field", sorted(Settings.model_fields))
@pytest.mark.parametrize(
    "value",
    [
        "",
        " ",
        "nonsense\n[(",
        "9" * 50,
        "1e300",
        "-1",
        "ü→٣",
        "x" * 50_000,
        "a\udcff",
        "u:s3cret@h",
    ],
)
def test_any_value_is_taken_or_refused_in_one_short_line_that_names_the_variable(
    monkeypatch: pytest.MonkeyPatch, field: str, value: str
) -> None:
    variable = f"RIPTIDE_{field.upper()}"
    monkeypatch.setenv(variable, value)
    try:
        load_settings()
    except InvalidSettingsError as error:
        line = str(error)
        assert line.startswith(variable)
        assert "\n" not in line
        assert len(line) < 600
        assert "s3cret" not in line
