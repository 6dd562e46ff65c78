"""Logs and figures about the server itself: JSON lines with request ids, Prometheus metrics.

A token never reaches a log line: anything that looks like one is replaced before output.
"""

from __future__ import annotations

import asyncio
import atexit
import logging
import re
import sys
import threading
from collections.abc import Mapping, MutableMapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, TextIO

import orjson
import structlog
from prometheus_client import CollectorRegistry, Counter, Histogram

_TOKEN = re.compile(r"eyJ[\w-]{8,}\.[\w-]+(\.[\w-]*)?|[?&#]t=[\w-]{20,}")
_SECRET_NAMES = frozenset(
    {
        "authorization",
        "dpop",
        "cookie",
        "set-cookie",
        "token",
        "subject_token",
        "actor_token",
        "access_token",
        "secret",
    }
)


def configure_logging(level: str) -> None:
    """Send every log line of this process, ours or a library's, to stderr as one JSON object."""
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        redact,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(level.upper())),
        cache_logger_on_first_use=True,
    )
    handler = _InOrder(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    _requests.handlers = [logging.StreamHandler(sys.stderr)]
    _requests.propagate = False
    _requests.setLevel(level.upper())
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        library = logging.getLogger(name)
        library.handlers = []
        library.propagate = name != "uvicorn.access"
    for chatty in ("mcp", "aiohttp", "asyncio", "alembic"):
        logging.getLogger(chatty).setLevel(max(logging.WARNING, root.level))


_requests = logging.getLogger("actfor.request")  # is given finished lines, many at a time


class _Lines:
    """Lines of requests, written together: one record and one system call for many.

    In order with all other lines, and about ``SECONDS`` late at most; any thread may write them. A
    process that is killed loses what was not written yet; what must not be lost stands in the audit
    log, never only here. A stream that fails is `logging`'s affair, not the request's.
    """

    SECONDS = 0.05
    _MOST = 256

    def __init__(self) -> None:
        self._lock = threading.RLock()  # until they are written: others' lines must not overtake
        self._waiting: list[str] = []
        self._timekeeper: asyncio.AbstractEventLoop | None = None

    def add(self, line: str) -> None:
        """Write it soon; at once where no event loop would do it later."""
        with self._lock:
            self._waiting.append(line)
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self.write()
            return
        if len(self._waiting) >= self._MOST:
            self.write()
        elif self._timekeeper is not loop:
            self._timekeeper = loop
            loop.call_later(self.SECONDS, self._tick)

    def _tick(self) -> None:
        self._timekeeper = None
        self.write()

    def write(self) -> None:
        """Write all that wait."""
        with self._lock:
            waiting, self._waiting = self._waiting, []
            if waiting:
                _requests.info("%s", "\n".join(waiting))


_lines = _Lines()
atexit.register(_lines.write)


class _InOrder(logging.StreamHandler[TextIO]):
    """Any other line comes after the requests that were answered before it."""

    def emit(self, record: logging.LogRecord) -> None:
        _lines.write()
        super().emit(record)


def request_line(request_id: str, method: str, path: str, status: int, seconds: float) -> None:
    """One answered request, in the shape of all other lines.

    Written by itself, because it is a tenth of the cost of a small request: the usual way through
    processors and formatter takes 26 µs, this 4.
    """
    if _requests.isEnabledFor(logging.INFO):
        line = {
            "event": "request",
            "request_id": request_id,
            "method": method,
            "path": _TOKEN.sub("[redacted]", _printable(path)),
            "status": status,
            "ms": round(seconds * 1000, 2),
            "level": "info",
            "timestamp": datetime.now(UTC).isoformat().replace("+00:00", "Z"),
        }
        _lines.add(orjson.dumps(line).decode())


def _printable(text: str) -> str:
    """A path may be anything; a line is one record to whatever splits the stream (D9)."""
    return text if text.isascii() else text.encode("ascii", "backslashreplace").decode()


def redact(_logger: Any, _name: str, event: MutableMapping[str, Any]) -> Mapping[str, Any]:
    """Replace token-like values. A structlog processor."""
    for key, value in event.items():
        if key.lower() in _SECRET_NAMES:
            event[key] = "[redacted]"
        elif isinstance(value, str):
            event[key] = _TOKEN.sub("[redacted]", value)
    return event


class Metrics:
    """The server's own counters; ``registry`` is what ``/metrics`` exposes."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "actfor_http_requests_total",
            "HTTP requests answered",
            ["route", "method", "status"],
            registry=self.registry,
        )
        self.trials = Counter(
            "actfor_policy_trial_calls_total",
            "Calls that a trial of policies was asked about",
            ["kind", "differs"],
            registry=self.registry,
        )
        self.seconds = Histogram(
            "actfor_http_request_seconds",
            "Time from request to answer",
            ["route"],
            registry=self.registry,
            buckets=(0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5, 45),
        )

        self._answered = lru_cache(maxsize=256)(self.requests.labels)
        self._took = lru_cache(maxsize=64)(self.seconds.labels)

    def answered(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count a request, and how long it took."""
        self._answered(route, method, str(status)).inc()
        self._took(route).observe(seconds)

    def trial(self, kind: str, differs: bool) -> None:  # noqa: FBT001 - a callback's shape
        """Count a call that a trial of policies was asked about."""
        self.trials.labels(kind, str(differs).lower()).inc()
