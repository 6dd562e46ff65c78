"""The composition root: settings, wiring, the ASGI application and its background loops."""

from actfor.server.recovery import recover
from actfor.server.run import prepare, serve
from actfor.server.settings import Settings, load

__all__ = ["Settings", "load", "prepare", "recover", "serve"]
