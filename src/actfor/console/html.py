"""Pages from templates: escaping always on, other people's words always made visible.

The response headers are those of a page on which people sign: nothing inline, nothing from
elsewhere, no frame, no cache. INVARIANT: no template marks anything as safe; the one place that
builds markup is `_span`, from escaped text.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape
from starlette.responses import HTMLResponse

from actfor.console import render
from actfor.console.static import asset
from actfor.wire.timestamps import rfc3339

# `style-src 'self'` and no `unsafe-inline`: templates have no style attributes (a test looks).
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'; "
    "require-trusted-types-for 'script'"
)

HEADERS = {
    "content-security-policy": CONTENT_SECURITY_POLICY,
    "cache-control": "no-store",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": (
        "publickey-credentials-create=(self), publickey-credentials-get=(self), camera=(), "
        "geolocation=(), microphone=(), payment=(), usb=()"
    ),
    # Not `no-referrer`: with it browsers send `Origin: null` with our own forms (Fetch §3.1).
    "referrer-policy": "same-origin",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}


def page(template: str, context: Mapping[str, Any], *, status: int = 200) -> HTMLResponse:
    """Render a template with all the headers."""
    html = _ENVIRONMENT.get_template(template).render(context)
    return HTMLResponse(html, status_code=status, headers=HEADERS)


def seen(value: object) -> Markup:
    """Somebody else's text, with all that hides in it shown."""
    return Markup('<span class="seen">{}</span>').format(pieces(render.visible(str(value))))


def pieces(cut: Iterable[render.Piece]) -> Markup:
    """The pieces of a text as markup."""
    return Markup("").join(_span(piece) for piece in cut)


def _span(piece: render.Piece) -> Markup:
    if piece.kind is render.Seen.PLAIN:
        return escape(piece.shown)
    return Markup('<mark class="{}" title="{}">{}</mark>').format(
        piece.kind.value, piece.name, piece.shown
    )


def when(instant: datetime) -> Markup:
    """A time as people read it, in UTC."""
    return Markup('<time datetime="{}">{}</time>').format(
        rfc3339(instant), f"{instant:%Y-%m-%d %H:%M:%S} UTC"
    )


def agent_name(spiffe_id: object) -> str:
    """The name in ``spiffe://domain/agent/name``; anything else as it is."""
    text = str(spiffe_id)
    _, found, name = text.partition("/agent/")
    return name if found and text.startswith("spiffe://") and "/" not in name else text


def left(until: datetime, now: datetime) -> str:
    """How long until then, to the second below an hour."""
    seconds = max(0, int((until - now).total_seconds()))
    if seconds < 60:
        return f"{seconds} s left"
    if seconds < 3600:
        return f"{seconds // 60} min {seconds % 60} s left"
    return f"{seconds // 3600} h {seconds % 3600 // 60} min left"


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("actfor.console"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    environment.filters.update(
        seen=seen, pieces=pieces, when=when, rfc3339=rfc3339, agent=agent_name, asset=asset
    )
    environment.globals.update(
        person=None, here="", pending=0, notice=None, csrf_token="", caller_has_m=False
    )
    return environment


_ENVIRONMENT = _environment()
