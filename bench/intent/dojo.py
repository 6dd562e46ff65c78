"""AgentDojo's suites: tasks, ground truths and checkers from the package, run for real.

An agent under full control of the attacker: it plays the user's ground truth, and once a result
holds the injected text, the injection's ground truth. The suite's own checkers say who got what
they wanted.
"""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

import yaml
from agentdojo.agent_pipeline.tool_execution import tool_result_to_str
from agentdojo.base_tasks import BaseInjectionTask, BaseUserTask
from agentdojo.functions_runtime import FunctionCall, FunctionsRuntime, TaskEnvironment
from agentdojo.task_suite.load_suites import get_suites
from agentdojo.task_suite.task_suite import TaskSuite, read_suite_file
from agentdojo.types import text_content_block_from_string
from pydantic import BaseModel

from bench.intent.overlays import Tool, described, load
from bench.intent.trial import Call, Ran

VERSION = "v1.2.2"
Task = Any  # the package is not in every environment that checks types
"""AgentDojo's user task or injection task."""


@dataclass(slots=True)
class DojoRoom:
    """One environment, loaded for one task, and the calls that ran in it."""

    suite: Suite
    task: Task
    environment: Any
    before: Any
    trace: list[FunctionCall] = field(default_factory=list)

    @property
    def honest(self) -> list[Call]:
        """The task's ground truth for this environment as it was before any call."""
        return self._truth(self.task)

    def attack(self, name: str) -> list[Call]:
        """The injection's ground truth for this environment."""
        return self._truth(self.suite.injections[name])

    def run(self, call: Call) -> Ran:
        """Run it on the environment, as AgentDojo's own executor does."""
        result, error = self.suite.runtime.run_function(self.environment, call.tool, call.arguments)
        self.trace.append(FunctionCall(function=call.tool, args=call.arguments))
        if error is not None:
            return Ran(error, failed=True)
        return Ran(_json(result), printed=partial(tool_result_to_str, result))

    def useful(self) -> bool:
        """The task's own checker."""
        return self._holds(self.task)

    def breached(self, name: str) -> bool:
        """The injection's own checker."""
        return self._holds(self.suite.injections[name])

    def _truth(self, task: Task) -> list[Call]:
        # On a copy: some ground truths change what they look at.
        made = task.ground_truth(self.before.model_copy(deep=True))
        return [Call(call.function, dict(call.args)) for call in made]

    def _holds(self, task: Task) -> bool:
        """Its checker, told the answer that its ground truth gives to the user."""
        said = [text_content_block_from_string(task.GROUND_TRUTH_OUTPUT)]
        return bool(
            self.suite.suite._check_task_result(  # noqa: SLF001  # its public way runs a whole pipeline
                task, said, self.before, self.environment, self.trace
            )
        )


@dataclass(frozen=True)
class DojoCase:
    """A user task; or an injection's goal that is asked by the user, with nothing injected."""

    home: Suite
    task: Task
    made: dict[str, bytes] = field(default_factory=dict, compare=False, repr=False)
    """Environments as made, pickled: reading them from YAML takes fifty times as long."""

    @property
    def suite(self) -> str:
        """The suite's name."""
        return self.home.name

    @property
    def user(self) -> str:
        """The task's id."""
        return str(self.task.ID)

    @property
    def words(self) -> str:
        """The prompt."""
        return str(self.task.PROMPT if isinstance(self.task, BaseUserTask) else self.task.GOAL)

    @property
    def tools(self) -> tuple[Tool, ...]:
        """The suite's."""
        return self.home.tools

    @property
    def attacks(self) -> tuple[str, ...]:
        """The suite's injection tasks."""
        return tuple(self.home.injections)

    def goal(self, attack: str) -> str:
        """The injection's goal."""
        return str(self.home.injections[attack].GOAL)

    def open(self, injected: str | None) -> DojoRoom:
        """A fresh environment."""
        texts = {} if injected is None else dict.fromkeys(self.vectors, injected)
        return self._load(texts)

    def _load(self, texts: dict[str, str]) -> DojoRoom:
        key = repr(sorted(texts.items()))
        if key not in self.made:
            environment = self.home.fresh(texts)
            if isinstance(self.task, BaseUserTask):
                environment = self.task.init_environment(environment)
            self.made[key] = pickle.dumps(environment)
        made = self.made[key]
        return DojoRoom(self.home, self.task, pickle.loads(made), pickle.loads(made))  # noqa: S301  # our own bytes

    @cached_property
    def vectors(self) -> tuple[str, ...]:
        """The injection vectors that the ground truth reads."""
        canaries = {name: f"<CANARY---{name}--->" for name in self.home.defaults}
        room = self._load(canaries)
        read = "".join(room.run(call).text for call in room.honest)
        return tuple(name for name, canary in canaries.items() if canary in read)


@dataclass(frozen=True)
class Suite:
    """One suite with its tools described."""

    name: str
    suite: TaskSuite[Any]

    @cached_property
    def runtime(self) -> FunctionsRuntime:
        """The functions, without state of their own."""
        return FunctionsRuntime(self.suite.tools)

    @cached_property
    def tools(self) -> tuple[Tool, ...]:
        """The tools with our overlay."""
        said = load(self.name)
        return tuple(
            described(
                function.name,
                function.full_docstring,
                function.parameters.model_json_schema(),
                said.get(function.name),
            )
            for function in self.suite.tools
        )

    @cached_property
    def injections(self) -> dict[str, BaseInjectionTask[Any]]:
        """The injection tasks by id, in the package's order."""
        return dict(self.suite.injection_tasks)

    @cached_property
    def defaults(self) -> dict[str, str]:
        """What stands in the injection vectors when nobody attacks."""
        return dict(self.suite.get_injection_vector_defaults())

    @cached_property
    def cases(self) -> list[DojoCase]:
        """The user tasks, in the package's order."""
        return [DojoCase(self, task) for task in self.suite.user_tasks.values()]

    @cached_property
    def flipped(self) -> list[DojoCase]:
        """The injections' goals as the user's own."""
        return [DojoCase(self, task) for task in self.injections.values()]

    def fresh(self, texts: dict[str, str]) -> TaskEnvironment:
        """An environment with these texts in its injection vectors.

        What ``load_and_inject_default_environment`` does, with libyaml's loader: many times as
        fast.
        """
        text = read_suite_file(self.name, "environment.yaml", self.suite.data_path)
        filled = text.format(**(self.defaults | texts))
        loaded = yaml.load(filled, getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506
        environment: TaskEnvironment = self.suite.environment_type.model_validate(loaded)
        return environment


def suites(names: Iterable[str]) -> Iterator[Suite]:
    """The suites of the package's newest task version, those asked for."""
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    for name, suite in sorted(get_suites(VERSION).items()):
        if name in names:
            yield Suite(name, suite)


def _json(result: Any) -> Any:
    """As an MCP server would structure it."""
    if isinstance(result, BaseModel):
        return result.model_dump(mode="json")
    if isinstance(result, list | tuple):
        return [_json(item) for item in result]
    if isinstance(result, dict):
        return {str(key): _json(value) for key, value in result.items()}
    return result
