"""The process that keeps the log of several workers; the supervisor starts it.

usage: python -m riptide.workers.log_process SLOT LISTENER BOARD

LISTENER and BOARD are inherited descriptors: the socket that workers connect to, and the memory
that all workers and the supervisor share. Standard input is the lifeline to the supervisor.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import sys

import uvloop

from riptide.errors import FaultError, StartError
from riptide.process.background import beside
from riptide.process.faults import Faults, caught_on_loop
from riptide.process.interpreter import tuned_for_streams
from riptide.process.log_records import configure_logs
from riptide.server.threads import closed_without_threads, started_threads
from riptide.service import make_log
from riptide.settings.settings import load_settings
from riptide.storage.shared.server import LogServer
from riptide.workers.board import Board
from riptide.workers.lifeline import START_FAILED, Lifeline
from riptide_telemetry import ServicePart

FAILED = 1
# Workers that drain need the log. The supervisor ends this process after all of them; without a
# supervisor, it waits for them so long.
PATIENCE_S = 60.0


def main(slot: int, listener: int, board_descriptor: int) -> int:
    """Keep the log until SIGINT, and return the exit code."""
    signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    # systemd sends SIGTERM to every process of the service.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    # Until the log is open, without a stack trace.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    board = Board(board_descriptor)
    lifeline = Lifeline(lambda: board.beat(slot), signal.SIGINT)
    try:
        with closed_without_threads(), asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_keep_log(slot, socket.socket(fileno=listener), board, lifeline))
    except StartError as error:
        lifeline.explain(str(error))
        return START_FAILED
    except FaultError as error:
        sys.stderr.write(f"riptide: {error}\n")
        return FAILED
    return 0


async def _keep_log(slot: int, listener: socket.socket, board: Board, lifeline: Lifeline) -> None:
    settings = load_settings()
    configure_logs(settings.log_level, settings.log_format)
    faults = Faults()
    loop = asyncio.get_running_loop()
    end = asyncio.Event()
    loop.add_signal_handler(signal.SIGINT, end.set)
    log = make_log(settings, faults)
    with started_threads(), caught_on_loop(faults):
        await log.open()
        try:
            lifeline.follow(loop)
            board.show_served(slot)
            faults.at_first(lambda: loop.call_soon_threadsafe(end.set))
            server = LogServer(log)
            background = {
                ServicePart.LOG_SERVER: lambda: server.run(listener),
                ServicePart.LOG_WATCH: log.watch,
            }
            # Places of messages are many objects, and none of them is garbage.
            with tuned_for_streams():
                async with beside(faults, background):
                    await end.wait()
                    if faults.first is not None:
                        server.tell_fault(faults.first)
                    else:
                        with contextlib.suppress(TimeoutError):
                            await asyncio.wait_for(server.wait_until_left(), PATIENCE_S)
        finally:
            await log.close()
    if faults.first is not None:
        raise FaultError(
            f"the process of the log has ended because of a fault of Riptide in {faults.first}: "
            "report the log record of the fault"
        )


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
