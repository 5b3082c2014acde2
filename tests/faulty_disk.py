"""A real service on a disk that becomes bad while it runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from operations.faulty_disk.disk import FaultyDisk, FaultyDiskError, build
from tests.programs import missing
from tests.service import Service

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

    import pytest


def built_shim(factory: pytest.TempPathFactory) -> Path:
    """Compile the shim; without a compiler the test is skipped, with the reason."""
    try:
        return build(factory.mktemp("faulty-disk"))
    except FaultyDiskError as error:
        missing(str(error))


class ServiceOnFaultyDisk(Service):
    """A service, and the disk of its data directory."""

    def __init__(self, directory: Path, library: Path, settings: dict[str, Any]) -> None:
        super().__init__(directory, settings)
        self.data = directory / "data"
        self.disk = FaultyDisk(self.data, library, directory / "table")
        self._disk_is_exchanged = False

    @property
    def is_running(self) -> bool:
        """Whether the process has been started and has not ended."""
        return self.process is not None and self.process.poll() is None

    def restart_on_a_sound_disk(self) -> None:
        """Kill the process, and start it again as if its disk had been exchanged: no shim."""
        self.kill()
        self._disk_is_exchanged = True
        self.start()

    def revive(self) -> None:
        """Start the process again if it has ended by itself, as a supervisor would."""
        if not self.is_running:
            self.start()

    def kill(self) -> None:
        """End the process without asking, also from within a call that hangs."""
        super().kill()
        self.disk.forget_the_dead()

    def _spawn(self, environment: dict[str, str]) -> subprocess.Popen[bytes]:
        if not self._disk_is_exchanged:
            environment |= self.disk.environment
        return super()._spawn(environment)
