"""The files of the log disappear under the service: nothing is acknowledged into nothing."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from operations.faulty_disk.disk import DATABASE, WAL
from tests.integration.log_faults.publishing import SOON_S, Record, readiness, soon
from tests.service import RIPTIDE
from tests.waiting import DEADLINE_S

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.faulty_disk import ServiceOnFaultyDisk


def _move_directory(data: Path) -> None:
    data.rename(data.with_name("elsewhere"))


def _replace_directory(data: Path) -> None:
    data.rename(data.with_name("elsewhere"))
    shutil.copytree(data.with_name("elsewhere"), data)


def _remove_wal(data: Path) -> None:
    (data / WAL).unlink()


def _remove_database(data: Path) -> None:
    (data / DATABASE).unlink()


def _replace_database(data: Path) -> None:
    copy = data / "copy"
    shutil.copy(data / DATABASE, copy)
    copy.rename(data / DATABASE)


@pytest.mark.parametrize(
    "lose",
    [
        _move_directory,
        _replace_directory,
        shutil.rmtree,
        _remove_wal,
        _remove_database,
        _replace_database,
    ],
)
def test_nothing_is_acknowledged_once_the_files_are_gone(
    service: ServiceOnFaultyDisk, lose: Callable[[Path], None]
) -> None:
    record = Record()
    assert all(record.publish(service) for _ in range(3))
    lose(service.data)
    assert not record.publish(service)
    soon(lambda: readiness(service)[0] == 503, lambda: readiness(service)[1])
    assert readiness(service)[1]["log"] != "ok"
    assert not record.publish(service)


def test_a_second_service_cannot_use_the_log_though_the_lock_file_is_deleted(
    service: ServiceOnFaultyDisk,
) -> None:
    assert Record().publish(service)
    (service.data / "riptide.lock").unlink()
    with subprocess.Popen(
        [RIPTIDE, "serve"],
        env={"RIPTIDE_DATA_DIR": str(service.data), "RIPTIDE_PORT": "0"},
        stderr=subprocess.PIPE,
        text=True,
    ) as second:
        try:
            _, said = second.communicate(timeout=SOON_S)
        finally:
            second.kill()
    assert second.returncode != 0
    assert "in use" in said


@pytest.mark.parametrize("lose", [_move_directory, shutil.rmtree, _remove_database, _remove_wal])
def test_a_backup_of_files_that_are_gone_fails_and_leaves_nothing_behind(
    service: ServiceOnFaultyDisk, tmp_path: Path, lose: Callable[[Path], None]
) -> None:
    assert Record().publish(service)
    lose(service.data)
    backup = tmp_path / "backup.db"
    done = subprocess.run(
        [RIPTIDE, "backup", backup],
        env={"RIPTIDE_DATA_DIR": str(service.data)},
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    assert done.returncode != 0
    assert not backup.exists()
