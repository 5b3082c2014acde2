"""The cached keys: read again at intervals, and when a token names an unknown key."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING

from riptide.errors import KeyFileError, KeysUnavailableError
from riptide_telemetry import Lifecycle, ReadingOutcome

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from riptide.access.keys import Key
    from riptide.access.sources import KeySource

logger = logging.getLogger("riptide.access")

# However many tokens name unknown keys, these make the keyring read at most this often.
MIN_PAUSE_S = 10.0
# A source that fails is tried again this soon: its issuer may have replaced its keys meanwhile.
RETRY_READING_S = 60.0
RETRY_AFTER_S = 5


class Keyring:
    """All keys of all sources; a source that fails keeps the keys that it had."""

    def __init__(
        self,
        sources: Sequence[KeySource],
        refresh_s: float,
        min_pause_s: float = MIN_PAUSE_S,
        lifecycle: Lifecycle | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._sources = sources
        self._refresh_s = refresh_s
        self._min_pause_s = min_pause_s
        self._lifecycle = lifecycle or Lifecycle()
        self._clock = clock
        self.readings = 0
        """The number of successful readings; a token is verified again after each of them."""
        self._keys: dict[str, list[Key]] = {}
        self._read_at = -float("inf")
        # By source, the last time at which it could be read; at first, the start.
        self._fresh_at = {source.name: clock() for source in sources}
        self._failing: set[str] = set()
        self._reading: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Read all sources for the first time; a remote one may fail, and is tried again.

        Raises:
            KeyFileError: a file cannot be read, or holds no keys.

        """
        for source in self._sources:
            if source.remote:
                await self._read_one(source)
                continue
            try:
                await self._take(source)
            except (OSError, ValueError) as error:
                why = getattr(error, "strerror", None) or error
                raise KeyFileError(
                    f"{source.name} has no keys to verify tokens with ({why})"
                ) from None
        self._read_at = self._clock()

    def age_s(self) -> float:
        """Return the time since a source was last read: of the one that this is longest ago."""
        now = self._clock()
        return max((now - fresh_at for fresh_at in self._fresh_at.values()), default=0.0)

    def missing(self) -> str | None:
        """Return which sources have not been read yet; None if all have."""
        names = [source.name for source in self._sources if source.name not in self._keys]
        if not names:
            return None
        return f"{', '.join(names)} could not be read since the start, and is tried again"

    async def run(self) -> None:
        """Read the keys at intervals until cancelled, so that new and removed keys take effect."""
        while True:
            await asyncio.sleep(min(self._refresh_s, self._patience_s()))
            await self._read()

    def _patience_s(self) -> float:
        """Return how soon a source that fails is tried again; infinity if none does."""
        if len(self._keys) < len(self._sources):
            # Nobody who has a token of this source is let in until the first reading.
            return self._min_pause_s
        return RETRY_READING_S if self._failing else float("inf")

    async def find(self, algorithm: str, key_id: str | None) -> list[Key]:
        """Return the keys that may have signed a token; if there is none, read the sources again.

        Raises:
            KeysUnavailableError: there are no keys yet.

        """
        found = self._matching(algorithm, key_id)
        if not found and self._clock() - self._read_at >= self._min_pause_s:
            await self._read()
            found = self._matching(algorithm, key_id)
        if not self._keys:
            raise KeysUnavailableError(
                "the keys to verify tokens with cannot be fetched just now: try again later",
                retry_after=RETRY_AFTER_S,
            )
        return found

    def _matching(self, algorithm: str, key_id: str | None) -> list[Key]:
        return [
            key
            for keys in self._keys.values()
            for key in keys
            if key.algorithm == algorithm and (key_id is None or key.id in {None, key_id})
        ]

    async def _read(self) -> None:
        """Read all sources; calls during a reading wait for that reading."""
        if self._reading is None or self._reading.done():
            self._reading = asyncio.create_task(self._read_all())
        await asyncio.shield(self._reading)

    async def _read_all(self) -> None:
        await asyncio.gather(*(self._read_one(source) for source in self._sources))
        self._read_at = self._clock()

    async def _read_one(self, source: KeySource) -> None:
        try:
            await self._take(source)
        except (OSError, ValueError) as error:
            self._failing.add(source.name)
            self._lifecycle.keys_read(ReadingOutcome.FAILED)
            kept = "those from before are kept" if source.name in self._keys else "there are none"
            logger.warning("no new keys from %s (%s); %s", source.name, error, kept)

    async def _take(self, source: KeySource) -> None:
        self._keys[source.name] = await source.read()
        self._fresh_at[source.name] = self._clock()
        self._failing.discard(source.name)
        self.readings += 1
        self._lifecycle.keys_read(ReadingOutcome.SUCCEEDED)
