"""Watches in Prometheus when each alert fires, and when it stops."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import NamedTuple

import httpx2

from operations.drill.receiver import AlertKey

_INTERVAL_S = 0.25


class Episode(NamedTuple):
    """One time that an alert fired; ``ended`` is None while it still fires."""

    began: float
    ended: float | None


class AlertWatch:
    """Asks Prometheus at short intervals which alerts fire."""

    def __init__(self, url: str) -> None:
        self._url = f"{url}/api/v1/alerts"
        self.episodes: dict[AlertKey, list[Episode]] = {}

    async def run(self) -> None:
        """Watch until cancelled."""
        async with httpx2.AsyncClient(timeout=10, trust_env=False) as client:
            while True:
                with contextlib.suppress(httpx2.TransportError):
                    answer = (await client.get(self._url)).raise_for_status().json()
                    self._note(
                        {
                            AlertKey.of(alert["labels"])
                            for alert in answer["data"]["alerts"]
                            if alert["state"] == "firing"
                        }
                    )
                await asyncio.sleep(_INTERVAL_S)

    def _note(self, firing: set[AlertKey]) -> None:
        now = time.monotonic()
        for key in firing:
            episodes = self.episodes.setdefault(key, [])
            if not episodes or episodes[-1].ended is not None:
                episodes.append(Episode(now, None))
        for key, episodes in self.episodes.items():
            if key not in firing and episodes[-1].ended is None:
                episodes[-1] = episodes[-1]._replace(ended=now)

    def fired(self, key: AlertKey, since: float) -> Episode | None:
        """Return the first episode of an alert that began after a moment."""
        episodes = self.episodes.get(key, [])
        return next((episode for episode in episodes if episode.began >= since), None)

    def silent(self, key: AlertKey) -> bool:
        """Return whether an alert does not fire now."""
        episodes = self.episodes.get(key, [])
        return not episodes or episodes[-1].ended is not None

    def ended(self, key: AlertKey) -> float:
        """Return when an alert last stopped firing."""
        return self.episodes[key][-1].ended or time.monotonic()
