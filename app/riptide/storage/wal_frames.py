"""The frames of a write-ahead log that SQLite's recovery passes over (SQLite file format, 4).

Recovery takes the frames up to the last commit whose checksums are right, and ignores all behind
it. These may be remains of an older generation of the file, which have other salts, a commit that
was broken off, or commits that were acknowledged and lie behind a damaged frame.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pathlib import Path
    from typing import BinaryIO

_HEADER = struct.Struct(">8I")
_FRAME = struct.Struct(">6I")
# The last bit says in which byte order the checksums are made.
_MAGIC, _BIG_ENDIAN = 0x377F0682, 1
_WORD = 0xFFFFFFFF
_SMALLEST_PAGE = 512


class LeftFrames(NamedTuple):
    """Frames of the present generation behind the last commit that recovery takes.

    They begin with frame number ``first`` (from 0) of ``page_bytes`` each; ``pages`` are their
    contents. ``commit_count`` of them ended a commit. ``is_broken`` is False if they are whole and
    follow each other, and only the end of their commit is missing.
    """

    first: int
    page_bytes: int
    pages: list[bytes]
    commit_count: int
    is_broken: bool


def find_left_frames(wal: Path, valid_count: int) -> LeftFrames | None:
    """Return the frames that a recovery left, None if there are none.

    ``valid_count`` is the number of frames that it took, as far as that is known. The checksums of
    those beyond are computed, which takes 20 ms for a megabyte.

    Raises:
        OSError: the file cannot be read.

    """
    with wal.open("rb") as file:
        head = file.read(_HEADER.size)
        if not head:
            return None
        if len(head) < _HEADER.size:
            # Nothing is shorter than that unless its end is missing.
            return LeftFrames(0, _SMALLEST_PAGE, [b""], 0, is_broken=True)
        header = _HEADER.unpack(head)
        order = ">" if header[0] & _BIG_ENDIAN else "<"
        header_is_whole = (
            header[0] & ~_BIG_ENDIAN == _MAGIC and _sum(head[:24], order, (0, 0)) == header[6:]
        )
        page_bytes = _page_bytes(header[2], wal.stat().st_size)
        return _collect(file, header, page_bytes, order, valid_count, is_whole=header_is_whole)


def frames_offset(first: int, page_bytes: int) -> int:
    """Return where a frame begins in the file."""
    return _HEADER.size + first * (_FRAME.size + page_bytes)


def header_bytes() -> int:
    """Return the size of the header of the file."""
    return _HEADER.size


def _collect(  # noqa: PLR0913  # the parts of the header
    file: BinaryIO,
    header: tuple[int, ...],
    page_bytes: int,
    order: str,
    valid_count: int,
    *,
    is_whole: bool,
) -> LeftFrames | None:
    salts, chain, first = header[4:6], header[6:8], valid_count
    if valid_count:
        file.seek(frames_offset(valid_count - 1, page_bytes))
        chain = _FRAME.unpack(file.read(_FRAME.size))[4:6]
    file.seek(frames_offset(valid_count, page_bytes))
    pages: list[bytes] = []
    gap: list[bytes] = []
    commits, is_broken = 0, not is_whole
    while frame := file.read(_FRAME.size + page_bytes):
        if len(frame) < _FRAME.size:
            # The end of the file is missing, of whatever frame this is the beginning.
            pages += [*gap, b""]
            is_broken = True
            break
        fields = _FRAME.unpack_from(frame)
        page = frame[_FRAME.size :]
        # One of the two is enough, so that a damaged salt does not hide a frame. Another
        # generation shares neither: one is counted up, and the other is random.
        if salts[0] != fields[2] and salts[1] != fields[3]:
            gap.append(page)
            continue
        is_broken |= bool(gap)
        pages += gap
        gap = []
        pages.append(page)
        commits += fields[1] != 0
        if not is_broken:
            chain = _sum(frame[:8] + page, order, chain) if len(page) == page_bytes else (0, 0)
            is_broken = chain != fields[4:6] or fields[2:4] != salts
            if commits and not is_broken:
                # Recovery takes this commit.
                first, commits = first + len(pages), 0
                pages.clear()
    if not pages:
        return None
    return LeftFrames(first, page_bytes, pages, commits, is_broken)


def _page_bytes(claimed: int, file_bytes: int) -> int:
    """Return the size of a page; if the header's cannot be right, the one that fits the file."""
    possible = [1 << bits for bits in range(9, 17)]
    if claimed in possible:
        return claimed
    fitting = [size for size in possible if (file_bytes - _HEADER.size) % (_FRAME.size + size) == 0]
    return fitting[-1] if fitting else possible[-1]


def _sum(data: bytes, order: str, start: tuple[int, ...]) -> tuple[int, int]:
    first, second = start
    words = iter(struct.unpack(f"{order}{len(data) // 4}I", data))
    for even, odd in zip(words, words, strict=True):
        first = (first + even + second) & _WORD
        second = (second + odd + first) & _WORD
    return first, second
