"""The settings: RIPTIDE_* environment variables, read once."""

from __future__ import annotations

import difflib
import ipaddress
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from riptide.errors import InvalidSettingsError, InvalidTopicError
from riptide.message import check_topic
from riptide.settings.service_links import is_service_link, service_link_warnings
from riptide.slow_consumers import parse_rules
from riptide_telemetry import TopicLabels

if TYPE_CHECKING:
    from collections.abc import Iterator

PREFIX = "RIPTIDE_"
# Read by the command line and by the test suite, not by the service.
OTHER_VARIABLES = {"RIPTIDE_TOKEN", "RIPTIDE_URL", "RIPTIDE_TEST_SKIPS"}

# A longer value is shown only in part: an error is one line that can be read.
SHOWN_CHARACTERS = 100

KIBIBYTE = 1024
MEBIBYTE = 1024 * KIBIBYTE
DAY = 24 * 60 * 60
_HOST = re.compile(r"[A-Za-z0-9._-]+|[0-9A-Fa-f:.]+|\*")
# An origin as browsers send it, in lower case; or *.
_NATS_URL = re.compile(r"(nats|tls|ws|wss)://[^\s,/?#]+(:[0-9]{1,5})?/?")
_ORIGIN = re.compile(r"https?://(?:[a-z0-9.-]+|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?|\*")


class Settings(BaseSettings):
    """Everything that a deployment can change. A field's description says what is allowed."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="ignore")

    host: str = Field(
        "127.0.0.1",
        min_length=1,
        title="address to listen on",
        description="a host name or IP address",
    )
    port: int = Field(
        8080,
        ge=0,
        le=65535,
        title="port to listen on",
        description="a whole number from 0 (any free port) to 65535",
    )
    workers: int = Field(
        1,
        ge=1,
        le=1024,
        title="processes that serve on the port; several share a log, which one more process keeps",
        description="a whole number from 1 to 1024",
    )
    tls_certificate: Path | None = Field(
        None,
        title="file with the certificate (PEM, its chain included) to serve TLS with",
        description="a file",
    )
    tls_key: Path | None = Field(
        None,
        title="file with the private key (PEM) of the certificate, if it is not in the same file",
        description="a file",
    )
    trusted_proxies: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        title="proxies whose X-Forwarded-For and X-Forwarded-Proto are believed",
        description="IP addresses and networks, separated by commas, like 127.0.0.1,10.0.0.0/8",
    )
    allow_anonymous: bool = Field(
        default=False,
        title="whether the service may listen beyond loopback without asking for tokens",
        description="true or false",
    )
    token_secret_file: Path | None = Field(
        None,
        title="file with the secret of HS256 tokens (JWT); tokens are required once any key is set",
        description="a file with at least 32 bytes",
    )
    jwks_file: Path | None = Field(
        None,
        title="file with the keys (a JWK set) of RS256, ES256, EdDSA and HS256 tokens",
        description="a file",
    )
    jwks_url: str | None = Field(
        None,
        pattern=r"^https?://[^\s/]\S*$",
        title="address at which the issuer of tokens publishes its keys (a JWK set)",
        description="a URL of http or https",
    )
    keys_refresh_seconds: float = Field(
        300,
        gt=0,
        allow_inf_nan=False,
        title="time after which keys are read again; sooner for an unknown key or after a failure",
        description="a number of seconds over 0",
    )
    token_audience: str | None = Field(
        None,
        min_length=1,
        title="audience (aud) that tokens must have; if not set, tokens must have none",
        description="a text",
    )
    token_issuer: str | None = Field(
        None,
        min_length=1,
        title="issuer (iss) that tokens must have; if not set, any issuer is accepted",
        description="a text",
    )
    token_leeway_seconds: float = Field(
        10,
        ge=0,
        le=300,
        title="how far the clocks of token issuers may be off",
        description="a number of seconds from 0 to 300",
    )
    token_cookie: str = Field(
        "riptide_token",
        pattern=r"^[A-Za-z0-9_.-]+$",
        title="cookie that may hold a token, for EventSource and WebSocket in browsers",
        description="a name of the characters A-Z a-z 0-9 _ . -",
    )
    token_in_query: bool = Field(
        default=False,
        title="whether a token may be given as ?access_token=, which proxies may log",
        description="true or false",
    )
    allowed_hosts: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        title="host names besides localhost that requests may be sent to (Host)",
        description="host names or IP addresses without a port, separated by commas; or * for any",
    )
    allowed_origins: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        title="other origins whose web pages may use the service (CORS, WebSocket, cookies)",
        description=(
            "origins like https://app.example.com, separated by commas; or * for any, except with "
            "a token in a cookie"
        ),
    )
    log: Literal["sqlite", "memory", "jetstream"] = Field(
        "sqlite",
        title="where messages are kept",
        description=(
            "sqlite (on disk, in RIPTIDE_DATA_DIR), memory (gone at exit) or jetstream (in servers "
            "of NATS, shared by any number of instances)"
        ),
    )
    data_dir: Path = Field(
        Path("riptide-data"),
        title="directory of the SQLite log, which all workers share",
        description="a directory that can be created and written to",
    )
    retention_messages: int = Field(
        1_000_000,
        ge=1,
        title="number of newest messages that are kept of each topic",
        description="a whole number from 1",
    )
    retention_seconds: float = Field(
        7 * DAY,
        gt=0,
        allow_inf_nan=False,
        title="age at which a message is deleted",
        description="a number of seconds over 0",
    )
    max_topics: int = Field(
        10_000,
        ge=1,
        title="number of topics that may have messages at the same time",
        description="a whole number from 1",
    )
    max_message_bytes: int = Field(
        MEBIBYTE,
        ge=1,
        title="largest single message",
        description="a whole number of bytes from 1",
    )
    max_batch_messages: int = Field(
        10_000,
        ge=1,
        title="largest number of lines in a batch",
        description="a whole number from 1",
    )
    max_body_bytes: int = Field(
        8 * MEBIBYTE,
        ge=1,
        title="largest body of a publish request",
        description="a whole number of bytes from 1",
    )
    heartbeat_seconds: float = Field(
        15,
        gt=0,
        allow_inf_nan=False,
        title="silence after which a stream gets a heartbeat",
        description="a number of seconds over 0",
    )
    write_timeout_seconds: float = Field(
        30,
        gt=0,
        allow_inf_nan=False,
        title="time after which a client that takes no bytes is disconnected",
        description="a number of seconds over 0",
    )
    retry_seconds: float = Field(
        2,
        gt=0,
        allow_inf_nan=False,
        title="time that clients are asked to wait before they reconnect (jittered)",
        description="a number of seconds over 0",
    )
    drain_seconds: float = Field(
        10,
        ge=0,
        allow_inf_nan=False,
        title="time over which the streams are closed at shutdown",
        description="a number of seconds from 0",
    )
    ring_messages: int = Field(
        4096,
        ge=1,
        title="number of newest messages of a topic in memory (the ring) while it has consumers",
        description="a whole number from 1",
    )
    ring_bytes: int = Field(
        16 * MEBIBYTE,
        ge=1,
        title="bytes that the ring of one topic may hold",
        description="a whole number of bytes from 1",
    )
    slow_consumer: str = Field(
        "disconnect",
        title="what happens to a consumer that falls off the ring, or lags too long",
        description=(
            "disconnect (it resumes from the log), drop_oldest (it skips what is too old) or "
            "latest (it skips to the newest message); or one of these for each pattern of topics, "
            "as in prices.*=latest,logs.*=drop_oldest,*=disconnect (the first match wins)"
        ),
    )
    max_lag_seconds: float = Field(
        300,
        gt=0,
        title="age of an unsent message above which its consumer counts as slow, unless it still "
        "catches up and gains ground",
        description="a number of seconds over 0, or inf",
    )
    max_connections: int = Field(
        10_000,
        ge=1,
        title="number of streams that may be open at the same time",
        description="a whole number from 1",
    )
    max_connections_per_address: int = Field(
        1000,
        ge=1,
        title="number of streams that one client address (an IPv6 /64) may have open; no limit for "
        "loopback",
        description="a whole number from 1",
    )
    max_connections_per_identity: int = Field(
        1000,
        ge=1,
        title="number of streams that one identity (a token's sub) may have open",
        description="a whole number from 1",
    )
    accept_rate: float = Field(
        2000,
        gt=0,
        title="streams that may be opened per second; 5 seconds' worth may come at once",
        description="a number over 0, or inf",
    )
    accept_rate_per_address: float = Field(
        200,
        gt=0,
        title="streams that one client address may open per second, 5 seconds' worth at once; no "
        "limit for loopback",
        description="a number over 0, or inf",
    )
    publish_rate: float = Field(
        10_000,
        gt=0,
        title="messages that one client may publish per second, 5 seconds' worth at once; no limit "
        "for loopback without a token",
        description="a number over 0, or inf",
    )
    head_timeout_seconds: float = Field(
        10,
        gt=0,
        allow_inf_nan=False,
        title="how long a client may take to send the target and headers of a request",
        description="a number of seconds over 0",
    )
    body_timeout_seconds: float = Field(
        60,
        gt=0,
        allow_inf_nan=False,
        title="how long a client may take to send the body of a request",
        description="a number of seconds over 0",
    )
    keep_alive_seconds: float = Field(
        5,
        gt=0,
        le=3600,
        title="how long an idle connection stays open; longer than proxies keep theirs, behind one",
        description="a number of seconds over 0, up to 3600",
    )
    jetstream_urls: Annotated[tuple[str, ...], NoDecode] = Field(
        ("nats://127.0.0.1:4222",),
        min_length=1,
        title="servers of one cluster of NATS",
        description="URLs like nats://host:4222 or tls://host:4222, separated by commas",
    )
    jetstream_stream: str = Field(
        "riptide",
        pattern=r"^[A-Za-z0-9_-]{1,64}$",
        title="name of the stream, and first part of its subjects",
        description="a name of up to 64 of the characters A-Z a-z 0-9 _ -",
    )
    jetstream_replicas: int = Field(
        3,
        ge=1,
        le=5,
        title="servers that keep each message, if the stream is created: a majority must live",
        description="1, 3 or 5",
    )
    jetstream_credentials_file: Path | None = Field(
        None,
        title="file with the credentials of a user of NATS (.creds)",
        description="a file that can be read",
    )
    jetstream_nkey_file: Path | None = Field(
        None,
        title="file with the seed of an nkey",
        description="a file that can be read",
    )
    jetstream_token_file: Path | None = Field(
        None,
        title="file with a token for NATS",
        description="a file that can be read",
    )
    jetstream_user: str | None = Field(
        None,
        min_length=1,
        title="user of NATS, with a password",
        description="a text",
    )
    jetstream_password_file: Path | None = Field(
        None,
        title="file with that user's password",
        description="a file that can be read",
    )
    jetstream_tls_ca: Path | None = Field(
        None,
        title="certificates of the authorities that the servers' certificates are of",
        description="a file in PEM",
    )
    jetstream_tls_certificate: Path | None = Field(
        None,
        title="certificate of this instance, for servers that ask for one",
        description="a file in PEM",
    )
    jetstream_tls_key: Path | None = Field(
        None,
        title="key of that certificate",
        description="a file in PEM",
    )
    jetstream_domain: str | None = Field(
        None,
        pattern=r"^[A-Za-z0-9_-]+$",
        title="domain of JetStream, with leaf nodes",
        description="a name of the characters A-Z a-z 0-9 _ -",
    )
    append_timeout_seconds: float = Field(
        15,
        ge=1,
        le=300,
        title="time after which a publish without an answer of the servers is given up; longer "
        "than they need to elect a leader (4 to 9 seconds)",
        description="a number of seconds from 1 to 300",
    )
    log_lost_seconds: float = Field(
        30,
        ge=1,
        le=3600,
        title="time without an answer of the servers after which an instance ends its streams, so "
        "that clients go on at another one",
        description="a number of seconds from 1 to 3600",
    )
    instance: str | None = Field(
        None,
        pattern=r"^[A-Za-z0-9._-]{1,64}$",
        title="name of this instance, for people and for telemetry (service.instance.id); the "
        "host's name if it is not set, and for telemetry its port",
        description="a name of up to 64 of the characters A-Z a-z 0-9 . _ -",
    )
    metrics_port: int | None = Field(
        None,
        ge=0,
        le=65535,
        title="separate port for metrics and health, which are then on no other port",
        description="a whole number from 0 (any free port) to 65535",
    )
    metrics_token_file: Path | None = Field(
        None,
        title="file with the token that is required for metrics and health",
        description="a file with at least 16 characters",
    )
    topic_labels: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        max_length=TopicLabels.MAX_PREFIXES,
        title="topic prefixes that become labels of metrics; all other topics are labelled other",
        description=f"up to {TopicLabels.MAX_PREFIXES} prefixes of names, separated by commas",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info",
        title="least severe log record that is printed",
        description="debug, info, warning or error",
    )
    log_format: Literal["text", "json"] = Field(
        "text",
        title="how log records are printed, one a line",
        description="text or json",
    )

    @model_validator(mode="before")
    @classmethod
    def _leave_out_service_links(cls, values: dict[str, Any]) -> dict[str, Any]:
        return {
            name: value
            for name, value in values.items()
            if not (isinstance(value, str) and is_service_link(_variable(name), value))
        }

    @field_validator("jetstream_urls")
    @classmethod
    def _check_urls(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for url in value:
            if _NATS_URL.fullmatch(url) is None:
                raise ValueError("not a URL of NATS")
        return value

    @field_validator("jetstream_replicas")
    @classmethod
    def _check_replicas(cls, value: int) -> int:
        if value not in {1, 3, 5}:
            raise ValueError("an even number of servers survives no more than one less")
        return value

    @field_validator("slow_consumer")
    @classmethod
    def _check_rules(cls, value: str) -> str:
        parse_rules(value)
        return value

    @field_validator("trusted_proxies")
    @classmethod
    def _check_networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        # Without host bits, because uvicorn would take a network with host bits for a name.
        networks = [ipaddress.ip_network(part, strict=False) for part in value]
        return tuple(str(network) for network in networks)

    @field_validator(
        "topic_labels",
        "allowed_hosts",
        "allowed_origins",
        "trusted_proxies",
        "jetstream_urls",
        mode="before",
    )
    @classmethod
    def _split(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        return tuple(part.strip() for part in value.split(",") if part.strip())

    @field_validator("topic_labels")
    @classmethod
    def _check_topics(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for prefix in value:
            try:
                check_topic(prefix)
            except InvalidTopicError as error:
                raise ValueError(str(error)) from None
        return value

    @field_validator("allowed_hosts")
    @classmethod
    def _check_hosts(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for host in value:
            if _HOST.fullmatch(host) is None:
                raise ValueError(f"{host!r} is not a host name")
        return tuple(host.lower() for host in value)

    @field_validator("allowed_origins")
    @classmethod
    def _check_origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for origin in value:
            if _ORIGIN.fullmatch(origin) is None:
                raise ValueError(f"{origin!r} is not an origin")
        return value


GROUPS = {
    "Listening": "host",
    "Access": "allow_anonymous",
    "Messages": "log",
    "Streams": "heartbeat_seconds",
    "Slow consumers": "ring_messages",
    "Limits": "max_connections",
    "A log in NATS JetStream": "jetstream_urls",
    "Metrics and log records": "metrics_port",
}
"""The titles of the groups, each with its first setting, in the order of ``Settings``."""


def load_settings() -> Settings:
    """Read the settings from the environment.

    Raises:
        InvalidSettingsError: a value is not allowed; names the variable, what was given and
            what is allowed.

    """
    try:
        return Settings()
    except ValidationError as error:
        fields = {str(fault["loc"][0]): None for fault in error.errors()}
        raise InvalidSettingsError("; ".join(map(_explain, fields))) from None
    except UnicodeEncodeError:
        # Raised in place of a ValidationError, for bytes that are no UTF-8.
        raise InvalidSettingsError("; ".join(_wrong_encodings())) from None


def ignored_variables() -> list[str]:
    """Return sentences about the RIPTIDE_* variables that are set, but set nothing."""
    known = {_variable(name) for name in Settings.model_fields} | OTHER_VARIABLES
    warnings = service_link_warnings(os.environ, PREFIX)
    for variable, value in sorted(os.environ.items()):
        if not variable.startswith(PREFIX) or variable in known or is_service_link(variable, value):
            continue
        close = difflib.get_close_matches(variable, known, n=1)
        hint = f"; did you mean {close[0]}?" if close else ""
        warnings.append(f"{variable} is not a setting of Riptide{hint}")
    return warnings


def _variable(field: str) -> str:
    return f"{PREFIX}{field}".upper()


def _wrong_encodings() -> Iterator[str]:
    for field in Settings.model_fields:
        variable = _variable(field)
        value = os.environ.get(variable, "")
        if not value.isascii() and value != value.encode("utf-8", "ignore").decode():
            yield f"{variable} is {value[:SHOWN_CHARACTERS]!r}, but must be text in UTF-8"


def _explain(field: str) -> str:
    variable = _variable(field)
    allowed = Settings.model_fields[field].description
    value = os.environ.get(variable, "")
    if "@" in value or "?" in value:  # a URL with a password, or with a token in its query
        return f"{variable} must be {allowed}"
    shown = repr(value[:SHOWN_CHARACTERS]) + ("…" if len(value) > SHOWN_CHARACTERS else "")
    return f"{variable} is {shown}, but must be {allowed}"
