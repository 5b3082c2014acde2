from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from riptide.errors import InvalidSettingsError
from riptide.settings.service_links import is_service_link
from riptide.settings.settings import Settings, ignored_variables, load_settings

if TYPE_CHECKING:
    from tests.conftest import StartService

PORTS = sorted(f"RIPTIDE_{name}".upper() for name in Settings.model_fields if "port" in name)
ADDRESSES = ("tcp://10.43.0.1:8080", "udp://10.43.0.1:53", "sctp://[fd00::1]:80", "tcp://")


def _of_service(name: str, address: str = "10.43.0.1", port: int = 8080) -> dict[str, str]:
    """Return what the kubelet sets for a Service with one port that has a name."""
    prefix = name.upper().replace("-", "_")
    link = f"{prefix}_PORT_{port}_TCP"
    return {
        f"{prefix}_SERVICE_HOST": address,
        f"{prefix}_SERVICE_PORT": str(port),
        f"{prefix}_SERVICE_PORT_HTTP_API": str(port),
        f"{prefix}_PORT": f"tcp://{address}:{port}",
        link: f"tcp://{address}:{port}",
        f"{link}_PROTO": "tcp",
        f"{link}_PORT": str(port),
        f"{link}_ADDR": address,
    }


def _set(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]) -> None:
    for variable, value in variables.items():
        monkeypatch.setenv(variable, value)


@pytest.mark.parametrize("address", ADDRESSES)
@pytest.mark.parametrize("variable", PORTS)
def test_the_address_of_a_service_is_not_taken_for_a_port(
    monkeypatch: pytest.MonkeyPatch, variable: str, address: str
) -> None:
    default = load_settings()
    monkeypatch.setenv(variable, address)
    assert load_settings() == default
    (warning,) = ignored_variables()
    assert variable in warning
    assert "enableServiceLinks: false" in warning


@pytest.mark.parametrize(
    "names",
    [("riptide",), ("riptide-metrics",), ("riptide", "riptide-metrics", "riptide-log-2")],
)
def test_one_warning_is_about_everything_that_kubernetes_sets_for_services(
    monkeypatch: pytest.MonkeyPatch, names: tuple[str, ...]
) -> None:
    for name in names:
        _set(monkeypatch, _of_service(name))
    (warning,) = ignored_variables()
    for name in names:
        assert f"{name.upper().replace('-', '_')}_PORT" in warning
    assert f" and {7 * len(names)} more" in warning


def test_the_host_of_a_service_alone_is_no_misspelt_setting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("RIPTIDE_SERVICE_HOST", "10.43.0.1")
    (warning,) = ignored_variables()
    assert "enableServiceLinks" in warning
    assert "not a setting" not in warning


def test_services_of_other_names_are_nobodys_business(monkeypatch: pytest.MonkeyPatch) -> None:
    _set(monkeypatch, _of_service("kubernetes"))
    assert ignored_variables() == []


@pytest.mark.parametrize("value", ["tcp", "http://10.0.0.1:80", "x tcp://10.0.0.1:80", "8080/tcp"])
def test_any_other_value_of_a_port_is_refused_as_before(
    monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("RIPTIDE_PORT", value)
    with pytest.raises(InvalidSettingsError, match="RIPTIDE_PORT is"):
        load_settings()


def test_a_port_that_was_set_is_kept_beside_the_variables_of_a_service(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # What the pod's own spec sets takes the place of the Service's variable.
    _set(monkeypatch, {**_of_service("riptide"), "RIPTIDE_PORT": "9000"})
    assert load_settings().port == 9000


def test_no_setting_has_the_name_of_a_variable_that_is_always_left_out() -> None:
    names = [f"RIPTIDE_{name}".upper() for name in Settings.model_fields]
    assert not any(is_service_link(name, "1") for name in names)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_service_starts_beside_services_of_its_name(
    start_service: StartService, workers: int
) -> None:
    links = _of_service("riptide") | _of_service("riptide-metrics")
    settings = {name.removeprefix("RIPTIDE_").lower(): value for name, value in links.items()}
    # Without it the port would be the default, which another program may have.
    del settings["port"]
    service = start_service(log="memory", workers=workers, **settings)
    assert service.log.count("enableServiceLinks") == 1
    assert "is not a setting" not in service.log
    assert service.stop() == 0
