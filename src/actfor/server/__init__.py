"""The composition root: settings, wiring, the ASGI application and its background loops."""
