"""Templates, style sheet, forms and headers: what holds for every page."""

import re
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request
from tests.fakes.console_strings import MARKUP, NASTY

from actfor.console.forms import MAX_FORM, Form, local_path
from actfor.console.html import CONTENT_SECURITY_POLICY, HEADERS, agent_name, page, seen
from actfor.console.static import asset
from actfor.errors import Kind, Refused

ROOT = Path(str(files("actfor.console")))
TEMPLATES = sorted((ROOT / "templates").glob("*.html"))
CSS = (ROOT / "static" / "console.css").read_text()


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: path.name)
def test_no_template_needs_an_exception_from_the_policy(template: Path) -> None:
    text = template.read_text()
    assert not re.search(r"\sstyle\s*=", text)
    assert not re.search(r"\son[a-z]+\s*=", text)
    assert not re.search(r"<style|javascript:|https?://(?!www\.w3\.org)", text)
    assert "|safe" not in text.replace(" ", "")
    assert "autoescape" not in text
    for tag in re.findall(r"<script[^>]*>(.*?)</script>", text, re.DOTALL):
        assert tag == ""


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: path.name)
def test_every_form_that_posts_carries_the_token(template: Path) -> None:
    for form in re.findall(r"<form[^>]*method=\"post\".*?</form>", template.read_text(), re.DOTALL):
        assert "m.csrf()" in form


def test_the_policy_allows_nothing_inline_and_nothing_from_elsewhere() -> None:
    assert "unsafe" not in CONTENT_SECURITY_POLICY
    assert CONTENT_SECURITY_POLICY.startswith("default-src 'none'")
    for needed in ("frame-ancestors 'none'", "base-uri 'none'", "form-action 'self'"):
        assert needed in CONTENT_SECURITY_POLICY
    assert "*" not in CONTENT_SECURITY_POLICY
    assert HEADERS["x-content-type-options"] == "nosniff"
    assert HEADERS["cache-control"] == "no-store"
    assert HEADERS["referrer-policy"] == "same-origin"


@pytest.mark.parametrize("text", MARKUP)
def test_what_a_refusal_says_is_escaped(text: str) -> None:
    body = bytes(page("error.html", {"title": "No", "detail": text, "back": "/"}).body).decode()
    inside = body.split("<h1>No</h1>")[1].split("</p>")[0]
    if "<" in text:
        assert text not in body
    assert "<script" not in inside
    assert "<img" not in inside


def _palette(block: str) -> dict[str, str]:
    return dict(re.findall(r"--([a-z-]+):\s*(#[0-9a-f]{6})", block))


LIGHT = _palette(CSS.split("@media (prefers-color-scheme: dark)")[0])
DARK = {**LIGHT, **_palette(CSS.split("@media (prefers-color-scheme: dark)")[1].split("}\n}")[0])}
PAIRS = [
    ("ink", "bg"), ("ink", "surface"), ("ink", "sunken"), ("muted", "bg"), ("muted", "surface"),
    ("muted", "sunken"), ("accent", "surface"), ("accent", "bg"), ("accent", "accent-soft"),
    ("accent-ink", "accent"), ("ok", "ok-soft"), ("warn", "warn-soft"), ("bad", "bad-soft"),
    ("bad", "surface"), ("warn", "surface"), ("bad-ink", "bad"), ("ink", "bad-soft"),
    ("ink", "warn-soft"), ("ink", "ok-soft"), ("bad", "sunken"), ("warn", "sunken"),
    ("muted", "warn-soft"),
]  # fmt: skip


@pytest.mark.parametrize("scheme", [LIGHT, DARK], ids=["light", "dark"])
@pytest.mark.parametrize("pair", PAIRS, ids="/".join)
def test_text_reaches_wcag_aa(scheme: dict[str, str], pair: tuple[str, str]) -> None:
    one, other = sorted((_luminance(scheme[pair[0]]), _luminance(scheme[pair[1]])))
    assert (other + 0.05) / (one + 0.05) >= 4.5


def test_field_borders_can_be_seen() -> None:
    for scheme in (LIGHT, DARK):
        one, other = sorted((_luminance(scheme["line-strong"]), _luminance(scheme["surface"])))
        assert (other + 0.05) / (one + 0.05) >= 3.0  # WCAG 2.2 §1.4.11


def _luminance(colour: str) -> float:
    parts = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
    red, green, blue = (c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_assets_are_addressed_by_what_they_hold() -> None:
    assert re.fullmatch(r"/static/console\.css\?v=[A-Za-z0-9_-]{16}", asset("console.css"))
    with pytest.raises(KeyError):
        asset("../html.py")


@pytest.mark.parametrize(
    "target",
    ["//evil.test", "/\\evil.test", "https://evil.test", "javascript:alert(1)", "", "evil", "/a b",
     "/a\nb", "/\t/evil.test", "/#x"],
)  # fmt: skip
def test_signing_in_leads_nowhere_else(target: str) -> None:
    assert local_path(target) == "/"


@pytest.mark.parametrize("target", ["/", "/approvals/apr_x?full=1", "/decisions?agent=a&before=3"])
def test_signing_in_leads_back(target: str) -> None:
    assert local_path(target) == target


@given(st.text())
def test_no_text_leads_to_another_site(target: str) -> None:
    path = local_path(target)
    assert path.startswith("/")
    assert not path.startswith(("//", "/\\"))


def _request(body: bytes, kind: str = "application/x-www-form-urlencoded") -> Request:
    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": body, "more_body": False}

    headers = [(b"content-type", kind.encode())]
    return Request({"type": "http", "method": "POST", "headers": headers}, receive)


async def test_a_form_is_read_as_it_was_filled_in() -> None:
    form = await Form.read(_request(b"a=1&b=x+y%21&b=2&c=&d=l1%0D%0Al2"))
    assert form.one("a") == "1"
    assert form.all("b") == ["x y!", "2"]
    assert form.one("c") == ""
    assert form.one("missing") == ""
    assert form.one("d") == "l1\nl2"


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"a=1", "application/json"),
        (b"a=1", "multipart/form-data; boundary=x"),
        (b"a=1", ""),
        (b"a=%ff", "application/x-www-form-urlencoded"),
        (b"a=\xff", "application/x-www-form-urlencoded"),
        (b"a=" + b"x" * MAX_FORM, "application/x-www-form-urlencoded"),
        (b"&".join([b"a=1"] * 501), "application/x-www-form-urlencoded"),
    ],
)
async def test_a_broken_form_is_refused(body: bytes, kind: str) -> None:
    with pytest.raises(Refused) as refused:
        await Form.read(_request(body, kind))
    assert refused.value.kind is Kind.MALFORMED


async def test_a_field_sent_twice_is_not_guessed_at() -> None:
    form = await Form.read(_request(b"csrf=a&csrf=b"))
    with pytest.raises(Refused):
        form.one("csrf")


@pytest.mark.parametrize(
    ("given_id", "shown"),
    [
        ("spiffe://example.com/agent/bot", "bot"),
        ("spiffe://example.com/agent/bot/x", "spiffe://example.com/agent/bot/x"),
        ("https://evil/agent/bot", "https://evil/agent/bot"),
        ("bot", "bot"),
    ],
)
def test_an_agent_is_called_by_its_name(given_id: str, shown: str) -> None:
    assert agent_name(given_id) == shown


@pytest.mark.parametrize("text", NASTY[:40])
def test_seen_never_breaks_out_of_an_attribute(text: str) -> None:
    for title in re.findall(r'title="([^"]*)"', str(seen(text))):
        assert "<" not in title


def _commands() -> list[str]:
    found: set[str] = set()
    for template in TEMPLATES:
        text = template.read_text()
        found |= set(re.findall(r"actfor [a-z][^<\n]*?(?=<|\" ~|\"\) |\" \)|'\) |$)", text))
    return sorted(found)


@pytest.mark.parametrize("line", _commands())
def test_every_command_on_a_page_exists(line: str) -> None:
    import shlex

    from typer.main import get_command

    from actfor.cli.app import app

    command: Any = get_command(app)
    words = shlex.split(re.sub(r"{{.*?}}", "X", line).replace("actfor ", "", 1))
    while words and hasattr(command, "commands"):
        assert words[0] in command.commands, line
        command = command.commands[words.pop(0)]
    own = words[: words.index("--")] if "--" in words else words
    known = {option for parameter in command.params for option in parameter.opts} | {"--help"}
    assert {word for word in own if word.startswith("-")} <= known
