"""What Schemathesis has to be told of us: how NDJSON is written, and that streams have no end.

It loads this by SCHEMATHESIS_HOOKS.
"""

from __future__ import annotations

import json
from typing import Any

import schemathesis


@schemathesis.serializer("application/x-ndjson")
def write_ndjson(context: Any, value: Any) -> bytes:
    """Write an array as lines; another value cannot be written, as one line would be an array."""
    del context
    if not isinstance(value, list):
        return b""
    return "\n".join(json.dumps(each) for each in value).encode()


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: dict[str, Any]) -> None:
    """Make a stream finite where ``until`` was left out: each answer is read to its end."""
    del context, kwargs
    if case.operation.path == "/topics/{topic}" and case.method.upper() == "GET":
        case.query = {"until": "latest", **(case.query or {})}
