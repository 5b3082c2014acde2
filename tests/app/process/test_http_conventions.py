from __future__ import annotations

import os
import subprocess
import sys

import pytest

from riptide.process.http_conventions import (
    OPT_IN,
    PROPAGATORS,
    load_instrumentation,
    use_stable_names,
)

# Loads the instrumentation first, as a process of the service does, and prints which headers carry
# traces and what the variable is afterwards.
LOAD = f"""
import os
from riptide.process.http_conventions import load_instrumentation

print(load_instrumentation().__name__)
from opentelemetry.propagate import get_global_textmap
print(sorted(get_global_textmap().fields))
print(os.environ.get({PROPAGATORS!r}))
"""


@pytest.mark.parametrize(
    ("given", "chosen"),
    [
        (None, "http"),
        ("", "http"),
        (" , ", "http"),
        ("http", "http"),
        ("http/dup", "http/dup"),
        ("database", "database,http"),
        ("HTTP", "HTTP,http"),
        ("nonsense, database/dup", "nonsense,database/dup,http"),
    ],
)
def test_the_stable_names_are_shown_whatever_the_variable_says(
    monkeypatch: pytest.MonkeyPatch, given: str | None, chosen: str
) -> None:
    monkeypatch.setenv(OPT_IN, given or "")
    if given is None:
        monkeypatch.delenv(OPT_IN)
    use_stable_names()
    assert os.environ[OPT_IN] == chosen


@pytest.mark.parametrize("named", ["b3", "none", "nonsense", "", "tracecontext,b3"])
def test_traces_come_in_the_headers_of_w3c_whatever_propagators_are_named(named: str) -> None:
    result = subprocess.run(
        [sys.executable, "-c", LOAD],
        env={PROPAGATORS: named},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.stderr == ""
    name, headers, variable = result.stdout.splitlines()
    assert name == load_instrumentation().__name__
    assert headers == "['baggage', 'traceparent', 'tracestate']"
    assert variable == named
