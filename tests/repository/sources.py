"""What the repository consists of, as git sees it."""

from __future__ import annotations

import functools
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]
# The two project roots, each with the one package that it distributes.
PACKAGES = {"app": "riptide", "telemetry": "riptide_telemetry"}


@functools.cache
def repository_files() -> tuple[Path, ...]:
    """Return all files that are tracked, or new and not ignored; relative to the root."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
        text=True,
    ).stdout
    files = (Path(name) for name in listed.split("\0") if name)
    return tuple(sorted(file for file in files if (ROOT / file).is_file()))


def python_files(*folders: str) -> list[Path]:
    """Return the Python files in these folders of the root (default: all)."""
    return [
        file
        for file in repository_files()
        if file.suffix == ".py" and (not folders or file.parts[0] in folders)
    ]


def module_name(file: Path) -> str:
    """Return the name under which a source of ours is imported."""
    return ".".join(file.with_suffix("").parts[1:])


def modules() -> list[Path]:
    """Return the files of our packages that hold code of their own."""
    exempt = {"__init__.py", "__main__.py"}
    return [file for file in python_files(*PACKAGES) if file.name not in exempt]
