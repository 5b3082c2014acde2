from __future__ import annotations

import threading

from riptide_telemetry.otlp.running_export import begin_export, end_export, is_exporting, note


def test_a_thread_notes_what_is_logged_during_its_own_export() -> None:
    assert not is_exporting()
    logged = begin_export()
    elsewhere: list[bool] = []
    thread = threading.Thread(target=lambda: elsewhere.append(is_exporting()))
    thread.start()
    thread.join()
    note("gone away")
    assert is_exporting()
    assert elsewhere == [False]
    end_export()
    assert not is_exporting()
    assert logged == ["gone away"]
    assert begin_export() == []
    end_export()
