"""The configurations are valid for the Collector that is built, which has what they use only."""

from __future__ import annotations

import os
import re
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.collector.collector import CONFIGURATIONS
from tests.programs import require_collector

if TYPE_CHECKING:
    from pathlib import Path

NAMES = ("agent", "gateway", "scrape")
KINDS = ("receivers", "processors", "connectors", "exporters", "extensions")
VARIABLE = re.compile(r"\$\{env:(\w+)(:-)?")


def _text(name: str) -> str:
    return (CONFIGURATIONS / f"{name}.yaml").read_text()


def _configuration(name: str) -> dict[str, Any]:
    configuration: dict[str, Any] = yaml.safe_load(_text(name))
    return configuration


def _collector(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    inherited = {name: value for name, value in os.environ.items() if "OTELCOL" not in name}
    return subprocess.run(
        [require_collector(), *arguments],
        env=inherited | environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("name", NAMES)
def test_a_configuration_is_valid_with_its_defaults(name: str) -> None:
    done = _collector("validate", f"--config={CONFIGURATIONS / name}.yaml")
    assert done.returncode == 0, done.stderr
    assert "deprecated" not in done.stderr.lower()


@pytest.mark.parametrize("name", NAMES)
def test_a_configuration_that_has_been_misspelt_is_not_valid(name: str, tmp_path: Path) -> None:
    file = tmp_path / "misspelt.yaml"
    file.write_text(_text(name).replace("limit_mib", "limit_mb"))
    done = _collector("validate", f"--config={file}")
    assert done.returncode != 0
    assert "limit_mb" in done.stderr


@pytest.mark.parametrize("name", NAMES)
def test_every_variable_has_a_default_and_its_row_in_the_readme(name: str) -> None:
    readme = (CONFIGURATIONS / "README.md").read_text()
    for variable, default in VARIABLE.findall(_text(name)):
        assert default, f"{variable} has no default"
        assert re.search(rf"^\| `{variable}` \|", readme, re.MULTILINE), variable


def test_the_readme_knows_no_other_variables() -> None:
    readme = (CONFIGURATIONS / "README.md").read_text()
    used = {variable for name in NAMES for variable, _ in VARIABLE.findall(_text(name))}
    assert set(re.findall(r"OTELCOL_\w+", readme)) == used


@pytest.mark.parametrize("name", NAMES)
def test_what_comes_in_passes_the_memory_limiter_first(name: str) -> None:
    configuration = _configuration(name)
    connectors = configuration.get("connectors", {})
    first = {
        pipeline["processors"][0]
        for pipeline in configuration["service"]["pipelines"].values()
        if not set(pipeline["receivers"]) & set(connectors)
    }
    assert first == {"memory_limiter"}


@pytest.mark.parametrize("name", NAMES)
def test_batches_are_made_where_they_are_sent(name: str) -> None:
    exporters = _configuration(name)["exporters"]
    queues = [each["sending_queue"] for kind, each in exporters.items() if kind.startswith("otlp")]
    assert queues
    assert all("batch" in queue for queue in queues)


def test_the_collector_has_exactly_what_the_configurations_use() -> None:
    program = require_collector()
    if "otelcol-riptide" not in program:
        pytest.skip(f"{program} has not been made from builder.yaml")
    made = yaml.safe_load(_collector("components").stdout)
    for kind in KINDS:
        used = {
            component.partition("/")[0]
            for name in NAMES
            for component in _configuration(name).get(kind, {})
        }
        assert {component["name"] for component in made[kind] or []} == used, kind
