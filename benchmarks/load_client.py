"""Builds the load client, which is written in Go."""

from __future__ import annotations

import functools
import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

SOURCES = Path(__file__).parent / "loadclient"


@functools.cache
def built() -> Path:
    """Return the client's program, built if its sources have changed; kept outside the tree.

    Raises:
        RuntimeError: there is no Go to build it with, or it does not build.

    """
    go = shutil.which("go")
    if go is None:
        raise RuntimeError("the load client is written in Go: install it (Debian's golang-go)")
    sources = sorted(file for file in SOURCES.iterdir() if not file.name.endswith("_test.go"))
    digest = hashlib.sha256(b"\0".join(file.read_bytes() for file in sources)).hexdigest()[:16]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "riptide-benchmarks")
    program = cache / f"loadclient-{digest}"
    if not program.exists():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=cache, delete=False) as new:
            build = subprocess.run(  # noqa: S603  # the Go that was found
                [go, "build", "-o", new.name, "."], cwd=SOURCES, capture_output=True, check=False
            )
        if build.returncode:
            Path(new.name).unlink()
            raise RuntimeError(f"the load client does not build: {build.stderr.decode()}")
        Path(new.name).chmod(0o755)
        Path(new.name).replace(program)
    return program
