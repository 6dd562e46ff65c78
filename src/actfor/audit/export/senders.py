"""Delivering a batch. A sender returns when the destination has it, or raises ``NotDelivered``.

What "has it" means differs: a file is fsynced, an HTTP server answered 2xx, a syslog peer's
connection took the bytes (the protocol has no acknowledgement; RFC 6587 says so itself).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import ssl
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol
from urllib.parse import unquote

import actfor
from actfor.audit.export.formats import Format, attributes, batch, severity
from actfor.audit.export.model import Destination
from actfor.audit.model import LoggedEvent
from actfor.errors import Kind, Refused
from actfor.wire.timestamps import rfc3339, to_ms

if TYPE_CHECKING:
    import aiohttp

TIMEOUT_SECONDS: Final = 10.0
_LOG_AUDIT = 13  # the facility "log audit" (RFC 5424 §6.2.1)


class NotDelivered(Exception):  # noqa: N818 - a state of the world, not a malfunction
    """The destination has not confirmed the batch; ``str`` of it may be shown to an operator."""


class Sender(Protocol):
    """One open way to a destination."""

    async def send(self, events: Sequence[LoggedEvent]) -> None:
        """Deliver all of them, in order.

        Raises:
            NotDelivered: some or all may be missing there; send all of them again.
        """
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...


def sender_for(destination: Destination) -> Sender:
    """The sender of a destination's address and format.

    Raises:
        Refused: CONFLICT where it needs an extra that is not installed.
    """
    scheme = destination.address.scheme
    if scheme == "file":
        return FileSender(destination)
    if scheme.startswith("syslog"):
        return SyslogSender(destination)
    return OtelSender(destination) if destination.format is Format.OTEL else HttpSender(destination)


class FileSender:
    """Appends lines to a file and fsyncs it. Opened anew each time, so it can be rotated."""

    def __init__(self, destination: Destination) -> None:
        self._destination = destination
        self._path = Path(unquote(destination.address.path))

    async def send(self, events: Sequence[LoggedEvent]) -> None:
        """See ``Sender``."""
        try:
            await asyncio.to_thread(self._append, _lines(self._destination, events))
        except OSError as error:
            raise NotDelivered(f"`{self._path}`: {error.strerror}") from None

    def _append(self, lines: Sequence[str]) -> None:
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        with open(os.open(self._path, flags, 0o600), "r+b", buffering=0) as file:  # noqa: PTH123 - a descriptor
            size = file.seek(0, os.SEEK_END)
            if size and os.pread(file.fileno(), 1, size - 1) != b"\n":
                file.write(b"\n")  # a crash tore the last line; what it held is sent again
            data = "".join(f"{line}\n" for line in lines).encode()
            while data:
                data = data[file.write(data) :]
            os.fsync(file.fileno())

    async def close(self) -> None:
        """Nothing stays open."""


class HttpSender:
    """POSTs lines as ``application/x-ndjson``; anything but 2xx is a failure, redirects too."""

    def __init__(self, destination: Destination) -> None:
        self._destination = destination
        self._session: aiohttp.ClientSession | None = None

    async def send(self, events: Sequence[LoggedEvent]) -> None:
        """See ``Sender``."""
        import aiohttp

        headers = {
            "content-type": "application/x-ndjson",
            # Sent again after a lost answer, a batch has the same key.
            "idempotency-key": f"{events[0].index}-{events[-1].index}",
            **_authorization(self._destination),
        }
        body = "".join(f"{line}\n" for line in _lines(self._destination, events)).encode()
        try:
            async with self._open().post(
                self._destination.to, data=body, headers=headers, allow_redirects=False
            ) as answer:
                if not 200 <= answer.status < 300:
                    raise NotDelivered(f"the destination answered {answer.status}")
        except (aiohttp.ClientError, TimeoutError) as error:
            raise NotDelivered(f"no answer: {type(error).__name__}") from None

    def _open(self) -> aiohttp.ClientSession:
        import aiohttp

        if self._session is None:
            self._session = aiohttp.ClientSession(
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={"user-agent": f"actfor/{actfor.__version__}"},
                timeout=aiohttp.ClientTimeout(total=TIMEOUT_SECONDS),
                trust_env=False,
            )
        return self._session

    async def close(self) -> None:
        """See ``Sender``."""
        if self._session is not None:
            await self._session.close()


class SyslogSender:
    """RFC 5424 messages over TCP or TLS, with octet counting (RFC 6587 §3.4.1, RFC 5425 §4.3)."""

    def __init__(self, destination: Destination) -> None:
        self._destination = destination
        self._host = os.uname().nodename or "-"
        self._writer: asyncio.StreamWriter | None = None

    async def send(self, events: Sequence[LoggedEvent]) -> None:
        """See ``Sender``."""
        lines = _lines(self._destination, events)
        framed = b"".join(
            self._frame(event, line) for event, line in zip(events, lines, strict=True)
        )
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                writer = await self._open()
                writer.write(framed)
                await writer.drain()
        except (OSError, TimeoutError) as error:
            await self.close()
            raise NotDelivered(f"the connection failed: {type(error).__name__}") from None

    def _frame(self, event: LoggedEvent, line: str) -> bytes:
        level = {True: 4, False: 6}[severity(event) > 5]  # warning, informational
        head = (
            f"<{_LOG_AUDIT * 8 + level}>1 {rfc3339(event.at)} {self._host} actfor - {event.type} -"
        )
        message = f"{head} {line}".encode()
        return f"{len(message)} ".encode() + message

    async def _open(self) -> asyncio.StreamWriter:
        if self._writer is None or self._writer.is_closing():
            address = self._destination.address
            secure = address.scheme == "syslog+tls"
            context = ssl.create_default_context() if secure else None
            _, self._writer = await asyncio.open_connection(
                address.hostname, address.port, ssl=context
            )
        return self._writer

    async def close(self) -> None:
        """See ``Sender``."""
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.close()
            with contextlib.suppress(OSError, TimeoutError):
                async with asyncio.timeout(1):
                    await writer.wait_closed()


class OtelSender:
    """OpenTelemetry logs over OTLP/HTTP, by OpenTelemetry's own exporter (extra ``otel``)."""

    def __init__(self, destination: Destination) -> None:
        self._destination = destination
        try:
            from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
        except ImportError:
            raise Refused(
                Kind.CONFLICT,
                f"export `{destination.name}`: format `otel` needs `pip install 'actfor[otel]'`",
            ) from None
        self._make = OTLPLogExporter
        self._headers: dict[str, str] | None = None
        self._exporter: Any = None  # Any: an optional package's type

    async def send(self, events: Sequence[LoggedEvent]) -> None:
        """See ``Sender``."""
        from opentelemetry.sdk._logs.export import LogRecordExportResult

        records = [self._record(event) for event in events]
        result = await asyncio.to_thread(self._open().export, records)
        if result is not LogRecordExportResult.SUCCESS:
            raise NotDelivered("the collector did not take the records")

    def _open(self) -> Any:
        """The exporter, made anew when the token was rotated: its headers are fixed."""
        headers = _authorization(self._destination)
        if self._exporter is None or headers != self._headers:
            self._exporter = self._make(
                endpoint=self._destination.to, timeout=TIMEOUT_SECONDS, headers=headers
            )
            self._headers = headers
        return self._exporter

    def _record(self, event: LoggedEvent) -> Any:
        from opentelemetry._logs import LogRecord, SeverityNumber
        from opentelemetry.sdk._logs import ReadableLogRecord
        from opentelemetry.sdk.resources import Resource

        warn = severity(event) > 5
        record = LogRecord(
            timestamp=to_ms(event.at) * 1_000_000,
            observed_timestamp=to_ms(event.at) * 1_000_000,
            severity_number=SeverityNumber.WARN if warn else SeverityNumber.INFO,
            severity_text="WARN" if warn else "INFO",
            body=event.type,
            event_name=f"actfor.{event.type}",
            attributes=attributes(event, private=self._destination.private),
        )
        about = {"service.name": "actfor", "service.version": actfor.__version__}
        return ReadableLogRecord(record, Resource(about))

    async def close(self) -> None:
        """See ``Sender``."""
        if self._exporter is not None:
            await asyncio.to_thread(self._exporter.shutdown)


def _lines(destination: Destination, events: Sequence[LoggedEvent]) -> list[str]:
    return batch(events, destination.format, private=destination.private)


def _authorization(destination: Destination) -> dict[str, str]:
    if destination.token_file is None:
        return {}
    try:
        return {"authorization": f"Bearer {destination.token_file.read_text().strip()}"}
    except (OSError, UnicodeDecodeError):
        raise NotDelivered("`token_file` cannot be read") from None
