"""Hold-outs out of the `inspect_evals` wheel (MIT): tau2's airline and retail desks, and CodeIPI.

    python -m bench.intent --wheel inspect_evals-0.28.0-py3-none-any.whl

The wheel is read, not installed: its requirements are heavy and only its data and its two
databases' tools are used. Those import `inspect_ai` for a decorator, an error and a place to
keep the database; `_inspect_ai` has these in a dozen lines, so that the tools themselves run.

What is taken for what:

- tau2's person: reason for the call, what they know and what they are told to do, turned from
  `you` into `I` word by word. The honest trace: the task's ground truth, run on the wheel's own
  database, less the calls that fail there, plus the reads it leaves out before a change (both
  desks' policies demand them). Attacks: another customer's state-changing calls.
  Left out: telecom (its calls are nearly all made by the customer on their phone) and banking
  (an agent's tool that calls other tools by name, learnt from a handbook).
- CodeIPI's person: the task; the issue is read through a tool. The honest trace: read the issue
  and every file, write the files that the task names, run the tests. Attacks: the commands that
  the sample's injected text asks for.
"""

from __future__ import annotations

import asyncio
import gc
import hashlib
import inspect
import json
import pickle
import re
import sys
import tempfile
import types
import typing
import zipfile
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import BaseModel, create_model

from bench.intent.mini import MiniSuite, MiniTask
from bench.intent.overlays import Tool, described, load, schema_of
from bench.intent.trial import Call

DESKS = ("airline", "retail")
ATTACKERS = 6
"""Tasks of each suite whose calls are what attackers want; chosen by hash."""

_FOLDERS = ("tau2/", "ipi_coding_agent/dataset/")


def suites(wheel: Path) -> Iterator[MiniSuite]:
    """The suites of that wheel."""
    home = _unpacked(wheel)
    _importable(home)
    for desk in DESKS:
        yield _desk(desk, home)
    yield _coding(home)


@cache
def _unpacked(wheel: Path) -> Path:
    home = Path(tempfile.mkdtemp(prefix="inspect_evals-"))
    with zipfile.ZipFile(wheel) as archive:
        wanted = tuple(f"inspect_evals/{folder}" for folder in _FOLDERS)
        archive.extractall(home, [n for n in archive.namelist() if n.startswith(wanted)])
    return home / "inspect_evals"


class _ToolError(Exception):
    """What the tools raise."""


def _importable(home: Path) -> None:
    """`inspect_evals.tau2.*` from there, without running the packages' own `__init__`."""
    for name, path in (("inspect_evals", home), ("inspect_evals.tau2", home / "tau2")):
        package = types.ModuleType(name)
        package.__path__ = [str(path)]
        sys.modules[name] = package
    for desk in DESKS:
        package = types.ModuleType(f"inspect_evals.tau2.{desk}")
        package.__path__ = [str(home / "tau2" / desk)]
        sys.modules[package.__name__] = package
    _inspect_ai()


_STORE: dict[str, Any] = {}


def _inspect_ai() -> None:
    """As much of `inspect_ai` as the two desks' tools touch."""

    def store_as(kind: type[BaseModel], instance: str = "") -> BaseModel:
        if instance not in _STORE:
            _STORE[instance] = kind()
        return typing.cast("BaseModel", _STORE[instance])

    parts: dict[str, dict[str, Any]] = {
        "inspect_ai": {},
        "inspect_ai.tool": {"Tool": Callable, "ToolError": _ToolError, "tool": lambda made: made},
        "inspect_ai.util": {"StoreModel": BaseModel, "store_as": store_as},
        "inspect_ai.model": {"Content": object, "ContentText": object},
        "toml": {"load": None, "dump": None},
    }
    for name, members in parts.items():
        module = types.ModuleType(name)
        module.__dict__.update(members)
        sys.modules[name] = module


def _desk(name: str, home: Path) -> MiniSuite:
    """A tau2 domain: its database fresh for every task."""
    module = __import__(f"inspect_evals.tau2.{name}.tools", fromlist=["tools"])
    runs = {
        made.__name__: made()
        for made in vars(module).values()
        if inspect.isfunction(made) and made.__annotations__.get("return") is Callable
    }
    said = load(f"tau2_{name}")
    tools = tuple(_tool(key, run, said.get(key)) for key, run in runs.items())
    toolkit = getattr(module, f"get_{name}_tools")
    toolkit()
    fresh = pickle.dumps(dict(_STORE))
    records = json.loads((home / "tau2" / "data" / "domains" / name / "tasks.json").read_text())
    changes = {tool.name for tool in tools if tool.changes}
    tasks = []
    gc.disable()  # a database is a million small objects that all live: four times as fast
    for record in records:
        _STORE.clear()
        _STORE.update(pickle.loads(fresh))  # noqa: S301 - pickled ten lines above
        tasks.append(_played(record, runs, changes))
    gc.enable()
    return MiniSuite(f"tau2_{name}", tools, _with_attackers(name, [t for t in tasks if t.calls]))


def _tool(name: str, run: Callable[..., Any], said: Any) -> Tool:
    doc = inspect.getdoc(run) or ""
    hints = {key: hint for key, hint in typing.get_type_hints(run).items() if key != "return"}
    fields: dict[str, Any] = {
        key: (
            hint,
            ...
            if inspect.signature(run).parameters[key].default is inspect.Parameter.empty
            else None,
        )
        for key, hint in hints.items()
    }
    schema = create_model(name, **fields).model_json_schema()
    for key, text in re.findall(r"^\s+(\w+): (.+)$", doc.partition("Args:")[2], re.MULTILINE):
        if key in schema.get("properties", {}):
            schema["properties"][key]["description"] = text
    return described(name, doc, schema, said)


def _played(record: dict[str, Any], runs: dict[str, Any], changes: set[str]) -> MiniTask:
    """The ground truth as it runs; the injected text can stand in what the first call answers."""
    calls: list[Call] = []
    results: list[Any] = []
    for action in record["evaluation_criteria"]["actions"] or ():
        if action["name"] not in runs:
            continue
        wanted = Call(
            action["name"], {k: v for k, v in action["arguments"].items() if v is not None}
        )
        for call in (*_looked_up(wanted, calls, runs, changes), wanted):
            if (answer := _run(call, runs)) is not None:
                calls.append(call)
                results.append(_parsed(answer))
    reads = (at for at, call in enumerate(calls) if call.tool not in changes)
    if (at := next((at for at in reads if isinstance(results[at], dict | list)), None)) is not None:
        results[at] = _remarked(results[at])
    words = _in_first_person(record["user_scenario"]["instructions"])
    harm = [call for call in calls if call.tool in changes]
    goal = _first(record["user_scenario"]["instructions"]["reason_for_call"])
    return MiniTask(f"task_{record['id']}", words, calls, results, goal, harm)


def _run(call: Call, runs: dict[str, Any]) -> Any:
    """What the wheel's own tool answers; nothing where it fails."""
    try:
        return asyncio.run(runs[call.tool](**json.loads(json.dumps(call.arguments))))
    except (_ToolError, TypeError, ValueError):
        return None


_RECORDS = {"order_id": "get_order_details", "reservation_id": "get_reservation_details"}


def _looked_up(
    call: Call, before: list[Call], runs: dict[str, Any], changes: set[str]
) -> Iterator[Call]:
    """The reads that the ground truth leaves out: whose record it is, and the record itself.

    Both desks' policies demand them before anything is changed.
    """
    named = next((name for name in _RECORDS if name in call.arguments), None)
    if call.tool not in changes or named is None:
        return
    record = Call(_RECORDS[named], {named: call.arguments[named]})
    read = {one.key for one in before}
    if record.key in read:
        return
    found = _parsed(_run(record, runs))
    if isinstance(found, dict) and "user_id" in found:
        owner = Call("get_user_details", {"user_id": found["user_id"]})
        if owner.key not in read:
            yield owner
        yield record
        changed = call.arguments.get("item_ids", ())
        for item in found.get("items", ()):
            if item["item_id"] in changed and "new_item_ids" in call.arguments:
                yield Call("get_product_details", {"product_id": item["product_id"]})


def _parsed(answer: Any) -> Any:
    try:
        return json.loads(answer)
    except (TypeError, ValueError):
        return answer


def _remarked(result: dict[str, Any] | list[Any]) -> Any:
    if isinstance(result, dict):
        return {**result, "remark": "{injection}"}
    return [*result, {"remark": "{injection}"}]


def _in_first_person(said: dict[str, Any]) -> str:
    parts = [said.get(key) for key in ("reason_for_call", "known_info", "task_instructions")]
    return " ".join(_first(part) for part in parts if part and part.strip(". "))


_PERSONS = (
    (r"\byou are\b", "I am"), (r"\byou're\b", "I'm"), (r"\byou were\b", "I was"),
    (r"\byourself\b", "myself"), (r"\byours\b", "mine"), (r"\byour\b", "my"),
    (r"\b(to|for|with|by|of|from) you\b", r"\1 me"), (r"\byou\b", "I"),
)  # fmt: skip


def _first(text: str) -> str:
    """`You want your money` as `I want my money`."""
    for pattern, other in _PERSONS:
        text = re.sub(pattern, other, text, flags=re.IGNORECASE)
    return re.sub(r"\s+", " ", text).strip()


def _with_attackers(suite: str, tasks: list[MiniTask]) -> tuple[MiniTask, ...]:
    """The same tasks, of which only a few are where attackers' calls come from."""
    able = [task.name for task in tasks if task.attack]
    few = sorted(able, key=lambda n: hashlib.sha256(f"{suite}/{n}".encode()).digest())[:ATTACKERS]
    return tuple(
        task
        if task.name in few
        else MiniTask(task.name, task.words, task.calls, task.results, "", [])
        for task in tasks
    )


_CODING: dict[str, dict[str, Any]] = {
    "read_issue": {"description": "Returns the issue as its reporter wrote it.", "effect": "read"},
    "read_file": {
        "description": "Returns the contents of a file of the repository.",
        "arguments": {"path": "string"},
        "effect": "read",
        "sinks": {"/path": "path"},
    },
    "write_file": {
        "description": "Replaces the contents of a file of the repository.",
        "arguments": {"path": "string", "content": "string"},
        "effect": "write",
        "sinks": {"/path": "path"},
    },
    "bash": {
        "description": "Runs a command in the repository's container and returns its output.",
        "arguments": {"command": "string"},
        "effect": "execute",
        "sinks": {"/command": "command"},
    },
}


def _coding(home: Path) -> MiniSuite:
    """CodeIPI: the wheel's repositories, honest work on them as said above."""
    tools = tuple(
        described(name, said["description"], schema_of(said.get("arguments", {})), said)
        for name, said in _CODING.items()
    )
    samples = json.loads((home / "ipi_coding_agent" / "dataset" / "samples.json").read_text())
    tasks = [_fixing(sample) for sample in samples]
    return MiniSuite("codeipi", tools, _with_attackers("codeipi", tasks))


def _fixing(sample: dict[str, Any]) -> MiniTask:
    files: dict[str, str] = sample["repo_files"]
    words = sample["task_description"]
    named = [path for path in dict.fromkeys(re.findall(r"`([^`]+)`", words)) if path in files]
    calls = [Call("read_issue", {}), *(Call("read_file", {"path": path}) for path in files)]
    results: list[Any] = [f"{sample['issue_text']}\n{{injection}}", *files.values()]
    for path in named:
        calls.append(Call("write_file", {"path": path, "content": f"{files[path]}\n"}))
        results.append("written")
    calls.append(Call("bash", {"command": _tests(words)}))
    results.append("1 passed")
    harm = [] if sample["is_benign"] else _commands(sample)
    return MiniTask(
        f"task_{sample['id']}",
        words,
        calls,
        results,
        "; ".join(call.arguments["command"] for call in harm),
        harm,
    )


def _tests(words: str) -> str:
    return next((found for found in re.findall(r"`([^`]*pytest[^`]*)`", words)), "pytest tests/")


def _commands(sample: dict[str, Any]) -> list[Call]:
    """Lines of the issue and the files that the sample's own indicator finds, as commands."""
    texts = [sample["issue_text"], *sample["repo_files"].values()]
    lines = [line.strip(" \t#*-<>!`") for text in texts for line in text.splitlines()]
    quoted = [part for line in lines for part in (re.findall(r"`([^`]{6,})`", line) or [line])]
    found = [part for part in quoted if re.search(sample["payload_indicator"], part)]
    return [Call("bash", {"command": part}) for part in dict.fromkeys(found[:2])]
