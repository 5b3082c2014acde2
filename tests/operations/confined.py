"""Runs a command under the restrictions of system calls that a systemd unit asks for.

usage: python confined.py UNIT COMMAND [ARGUMENT…]

As systemd does, it lets libseccomp make filters of SystemCallFilter=, RestrictAddressFamilies= and
MemoryDenyWriteExecute=. Capabilities and new privileges are taken away by setpriv, which runs this.
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

_ALLOW = 0x7FFF0000
_REFUSE = 0x00050000 | errno.EPERM
_EQUAL_IN_MASK = 7
_SHM_EXEC = 0o100000


class _Comparison(ctypes.Structure):
    _fields_ = (
        ("argument", ctypes.c_uint),
        ("operator", ctypes.c_int),
        ("first", ctypes.c_uint64),
        ("second", ctypes.c_uint64),
    )


class _Filter:
    """A filter of libseccomp; filters that are loaded one after another all have to agree."""

    def __init__(self, otherwise: int) -> None:
        self._library = ctypes.CDLL("libseccomp.so.2", use_errno=True)
        self._library.seccomp_init.restype = ctypes.c_void_p
        self._context = ctypes.c_void_p(self._library.seccomp_init(ctypes.c_uint32(otherwise)))

    def add(self, action: int, name: str, *comparisons: _Comparison) -> None:
        """Add a rule for a system call; one that this machine does not have is left out."""
        number = self._library.seccomp_syscall_resolve_name(name.encode())
        if number >= 0:
            array = (_Comparison * len(comparisons))(*comparisons)
            self._check(
                self._library.seccomp_rule_add_array(
                    self._context, ctypes.c_uint32(action), number, len(comparisons), array
                )
            )

    def load(self) -> None:
        """Make it hold from now on, for this process and all that come of it."""
        self._check(self._library.seccomp_load(self._context))

    def _check(self, result: int) -> None:
        if result:
            raise OSError(-result, os.strerror(-result))


def _values(unit: str, name: str) -> list[str]:
    return re.findall(rf"^{name}=(.*)$", unit, re.MULTILINE)


def _calls(group: str) -> set[str]:
    """Return the system calls of a group, and of the groups in it."""
    listed = subprocess.run(
        ["systemd-analyze", "syscall-filter", group], capture_output=True, text=True, check=True
    )
    words = set(re.findall(r"^ +(@?[\w-]+)$", listed.stdout, re.MULTILINE))
    nested = {word for word in words if word.startswith("@")}
    return (words - nested).union(*map(_calls, nested))


def confine(unit: str) -> None:
    """Restrict this process as the text of a unit says."""
    allowed: set[str] = set()
    for value in _values(unit, "SystemCallFilter"):
        calls = set[str]().union(*map(_calls, value.removeprefix("~").split()))
        allowed = allowed - calls if value.startswith("~") else allowed | calls
    arguments = _Filter(_ALLOW)
    if _values(unit, "MemoryDenyWriteExecute") == ["yes"]:
        both = mmap.PROT_WRITE | mmap.PROT_EXEC
        for name, mask in {
            "mmap": both,
            "mprotect": mmap.PROT_EXEC,
            "pkey_mprotect": mmap.PROT_EXEC,
            "shmat": _SHM_EXEC,
        }.items():
            arguments.add(_REFUSE, name, _Comparison(2, _EQUAL_IN_MASK, mask, mask))
    (families,) = _values(unit, "RestrictAddressFamilies")
    numbers = {int(getattr(socket, family)) for family in families.split()}
    for family in range(max(socket.AddressFamily) + 1):
        if family not in numbers:
            arguments.add(_REFUSE, "socket", _Comparison(0, _EQUAL_IN_MASK, 0xFFFFFFFF, family))
    arguments.load()
    permitted = _Filter(_REFUSE)
    for name in sorted(allowed):
        permitted.add(_ALLOW, name)
    permitted.load()


if __name__ == "__main__":
    confine(Path(sys.argv[1]).read_text())
    os.execvp(sys.argv[2], sys.argv[2:])  # noqa: S606  # the command of a test
