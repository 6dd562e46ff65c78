"""The packaged policies: the schema every policy set obeys, and the default pack."""

from __future__ import annotations

from importlib.resources import files


def schema_source() -> str:
    """The Cedar schema, as text."""
    return _text("schema.cedarschema")


def default_source() -> str:
    """The default policy pack, as text."""
    return _text("default.cedar")


def _text(name: str) -> str:
    return files(__name__).joinpath(name).read_text(encoding="utf-8")
