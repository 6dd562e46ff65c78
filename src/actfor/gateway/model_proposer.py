"""A language model as a proposer of mandates, over the OpenAI-compatible HTTP interface.

Off unless an operator names it. What it answers is untrusted: it is read strictly, can only narrow
what the words mean (``proposals``), and a person confirms it. No tool result is ever sent to it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import httpx2

from actfor.errors import Kind, Refused
from actfor.wire import strict_json
from actfor.wire.canonical import JsonObject, JsonValue

MAX_ANSWER: Final = 64 * 1024
SECONDS: Final = 30.0
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})
_TASK: Final = (
    "You draft the narrowest authority for an agent that does what a person asks, and nothing more."
    ' Answer with one JSON object {"grants": [{"server", "tools": [], "effects": [], "args":'
    ' {"/argument": {"const"|"enum"|"pattern"|"range"|"prefix"|"domain": …}}, "max_calls",'
    ' "amount": {"value", "currency"}}], "budget": {"calls", "amount"}}.'
    " Use only servers, tools and effects that are listed. Leave out every tool that is not needed."
)


class ModelProposer:
    """``url`` is the interface's base (`https://…/v1`), ``token_file`` holds its bearer token.

    Raises:
        ValueError: the URL is neither HTTPS nor on this machine.
    """

    def __init__(self, url: str, model: str, token_file: Path | None = None) -> None:
        split = urlsplit(url)
        if split.scheme != "https" and not (split.scheme == "http" and split.hostname in _LOOPBACK):
            raise ValueError("the proposer's URL is https, or http on this machine")
        self._url = url.rstrip("/")
        self._model = model
        self._token_file = token_file

    async def suggest(self, words: str, tools: Sequence[JsonObject]) -> JsonObject:
        """Ask the model once; see ``Proposer``."""
        asked = json.dumps({"person": words, "tools": list(tools)}, ensure_ascii=True)
        body: dict[str, JsonValue] = {
            "model": self._model,
            "temperature": 0,
            "response_format": {"type": "json_object"},
            "messages": [
                {"role": "system", "content": _TASK},
                {"role": "user", "content": asked},
            ],
        }
        return _object(await self._post(body))

    async def _post(self, body: JsonObject) -> bytes:
        headers = {}
        if self._token_file is not None:
            headers["authorization"] = f"Bearer {self._token_file.read_text().strip()}"
        try:
            async with (
                httpx2.AsyncClient(
                    timeout=SECONDS, follow_redirects=False, trust_env=False
                ) as http,
                http.stream(
                    "POST", f"{self._url}/chat/completions", json=body, headers=headers
                ) as answer,
            ):
                if answer.status_code != 200:
                    raise Refused(Kind.BUSY, f"the model answered {answer.status_code}")
                read = b""
                async for part in answer.aiter_bytes():
                    read += part
                    if len(read) > MAX_ANSWER:
                        raise Refused(Kind.MALFORMED, "the model's answer is too long")
                return read
        except (httpx2.HTTPError, OSError) as cause:
            raise Refused(Kind.BUSY, "the model cannot be reached") from cause


def _object(answer: bytes) -> JsonObject:
    """The JSON object in the first choice of an answer."""
    try:
        choice = json.loads(answer)["choices"][0]["message"]["content"]
        return strict_json.load_object(str(choice).encode())
    except (ValueError, KeyError, IndexError, TypeError, UnicodeEncodeError, Refused) as cause:
        raise Refused(Kind.MALFORMED, "the model's answer could not be read") from cause
