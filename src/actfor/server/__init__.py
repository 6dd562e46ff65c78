"""The composition root: settings, wiring, the ASGI application and its background loops."""

from actfor.server.backup import verify_backup, write_backup
from actfor.server.recovery import recover
from actfor.server.restore import restore
from actfor.server.run import prepare, serve
from actfor.server.settings import Settings, load

__all__ = [
    "Settings",
    "load",
    "prepare",
    "recover",
    "restore",
    "serve",
    "verify_backup",
    "write_backup",
]
