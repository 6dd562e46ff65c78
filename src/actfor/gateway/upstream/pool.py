"""The one HTTP client of this process for servers somewhere else."""

from __future__ import annotations

from typing import TYPE_CHECKING

import actfor

if TYPE_CHECKING:
    import aiohttp


class Pool:
    """The one aiohttp session of this process, made on the loop that first needs it."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None

    def session(self) -> aiohttp.ClientSession:
        """The shared session."""
        import aiohttp

        if self._session is None or self._session.closed:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, limit_per_host=256, keepalive_timeout=30),
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={"user-agent": f"actfor/{actfor.__version__}"},
                auto_decompress=True,
                trust_env=False,
            )
        return self._session

    async def close(self) -> None:
        """Close its connections."""
        if self._session is not None:
            await self._session.close()
