"""The settings: RIPTIDE_* environment variables, read once."""

from __future__ import annotations

import difflib
import os
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from app.errors import InvalidSettingsError, InvalidTopicError
from app.message import check_topic
from telemetry import TopicLabels

PREFIX = "RIPTIDE_"
# Read by the command line and by the test suite, not by the service.
OTHER_VARIABLES = {"RIPTIDE_URL", "RIPTIDE_TEST_SKIPS"}

KIBIBYTE = 1024
MEBIBYTE = 1024 * KIBIBYTE
DAY = 24 * 60 * 60


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
        title="processes that share the port; each is a service of its own until there is a broker",
        description="a whole number from 1 to 1024",
    )
    log: Literal["sqlite", "memory"] = Field(
        "sqlite",
        title="where messages are kept",
        description="sqlite (on disk, in RIPTIDE_DATA_DIR) or memory (gone at exit)",
    )
    data_dir: Path = Field(
        Path("riptide-data"),
        title="directory of the SQLite log",
        description="a directory that can be created and written to",
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
    retention_messages: int = Field(
        1_000_000,
        ge=1,
        title="newest messages kept of each topic",
        description="a whole number from 1",
    )
    retention_seconds: float = Field(
        7 * DAY,
        gt=0,
        allow_inf_nan=False,
        title="age at which a message is deleted",
        description="a number of seconds over 0",
    )
    ring_messages: int = Field(
        4096,
        ge=1,
        title="newest messages of a topic held in memory while it has consumers",
        description="a whole number from 1",
    )
    ring_bytes: int = Field(
        16 * MEBIBYTE,
        ge=1,
        title="bytes that the ring of one topic may hold",
        description="a whole number of bytes from 1",
    )
    slow_consumer: Literal["disconnect", "drop_oldest", "latest"] = Field(
        "disconnect",
        title="what happens to a consumer that falls off the ring",
        description=(
            "disconnect (it resumes from the log), drop_oldest (it skips what left the ring) "
            "or latest (it skips to the newest message)"
        ),
    )
    topic_labels: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        max_length=TopicLabels.MAX_PREFIXES,
        title="topic prefixes that metrics may have as a label; all else is other",
        description=f"up to {TopicLabels.MAX_PREFIXES} beginnings of topic names, with commas",
    )
    max_connections: int = Field(
        10_000,
        ge=1,
        title="streams open at the same time",
        description="a whole number from 1",
    )
    max_body_bytes: int = Field(
        8 * MEBIBYTE,
        ge=1,
        title="largest body of a publish request",
        description="a whole number of bytes from 1",
    )
    max_message_bytes: int = Field(
        MEBIBYTE,
        ge=1,
        title="largest single message",
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
        title="how long a client may take nothing before it is cut off",
        description="a number of seconds over 0",
    )
    retry_seconds: float = Field(
        2,
        gt=0,
        allow_inf_nan=False,
        title="wait that clients are asked for before they reconnect (jittered)",
        description="a number of seconds over 0",
    )
    drain_seconds: float = Field(
        10,
        ge=0,
        allow_inf_nan=False,
        title="time in which streams are closed one by one at shutdown",
        description="a number of seconds from 0",
    )

    @field_validator("topic_labels", mode="before")
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


def unknown_variables() -> list[str]:
    """Say in a sentence each which RIPTIDE_* variables are set but mean nothing."""
    known = {f"{PREFIX}{name}".upper() for name in Settings.model_fields} | OTHER_VARIABLES
    warnings = []
    for variable in sorted(os.environ):
        if variable.startswith(PREFIX) and variable not in known:
            close = difflib.get_close_matches(variable, known, n=1)
            hint = f"; did you mean {close[0]}?" if close else ""
            warnings.append(f"{variable} is not a setting of Riptide{hint}")
    return warnings


def _explain(field: str) -> str:
    variable = f"{PREFIX}{field}".upper()
    allowed = Settings.model_fields[field].description
    return f"{variable} is {os.environ.get(variable)!r}, but must be {allowed}"
