"""Cerbos (npm, one Go binary) as the peer of the AuthZEN endpoint: installed by hash, started.

Its policies say what ours say: one resource policy for each server, with the facts as attributes
of the request. Cerbos finds a policy by the kind of resource, as we find ours by the tool. It
records nothing: its audit log is off, as it is by default.
"""

from __future__ import annotations

import json
import platform
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from bench.harness import WORK, NotRun, Process, ask, cores, free_port, note, raw_request, scratch

HERE = Path(__file__).resolve().parent / "cerbos"
TARGET = WORK / "cerbos"
BINARY = TARGET / "node_modules/@cerbos/cerbos-linux-x64/cerbos-linux-x64"
FORM = {"Content-Type": "application/json"}
EXPECT = '"EFFECT_ALLOW"'

_POLICY = """\
apiVersion: api.cerbos.dev/v1
resourcePolicy:
  resource: {kind}
  version: default
  rules:
    - name: outside-mandate
      actions: ["*"]
      effect: EFFECT_DENY
      roles: ["*"]
      condition: {{match: {{expr: "!request.principal.attr.in_mandate"}}}}
    - name: tool-not-pinned
      actions: ["*"]
      effect: EFFECT_DENY
      roles: ["*"]
      condition: {{match: {{expr: "!request.resource.attr.tool_pinned"}}}}
    - name: high-tier-not-attested
      actions: ["*"]
      effect: EFFECT_DENY
      roles: ["*"]
      condition:
        match:
          expr: >-
            request.principal.attr.tier == "high" && request.principal.attr.assurance != "measured"
    - name: read-in-mandate
      actions: [read]
      effect: EFFECT_ALLOW
      roles: [agent]
      condition:
        match:
          expr: >-
            request.principal.attr.in_mandate && !request.principal.attr.requires_approval &&
            request.principal.attr.within_caps
"""
_CONFIG = """\
server: {{httpListenAddr: "127.0.0.1:{http}", grpcListenAddr: "127.0.0.1:{grpc}"}}
storage: {{driver: disk, disk: {{directory: "{policies}", watchForChanges: false}}}}
telemetry: {{disabled: true}}
"""


class Cerbos:
    """One running Cerbos with a policy for each of ``kinds``."""

    def __init__(self, folder: Path, kinds: list[str]) -> None:
        binary = install()
        policies = folder / "policies"
        policies.mkdir()
        for kind in kinds:
            (policies / f"{kind}.yaml").write_text(_POLICY.format(kind=kind))
        port = free_port()
        config = folder / "cerbos.yaml"
        config.write_text(_CONFIG.format(http=port, grpc=free_port(), policies=policies))
        self._base = f"http://127.0.0.1:{port}"
        self.url = f"{self._base}/api/check/resources"
        self.process = Process(
            [str(binary), "server", f"--config={config}", "--log-level=error"],
            core=cores()[0],
            env={"CERBOS_NO_TELEMETRY": "1", "GOMAXPROCS": "1"},
        )

    def start(self, body: bytes) -> None:
        """Wait for it and look at one answer."""
        self.process.wait_for(f"{self._base}/_cerbos/health", seconds=60)
        answer = json.loads(ask(self.url, body, FORM))
        if answer["results"][0]["actions"] != {"read": "EFFECT_ALLOW"}:
            raise NotRun(f"cerbos answered otherwise than we do: {answer}")

    def request(self, body: bytes) -> bytes:
        """The whole HTTP request."""
        return raw_request(self.url, body, FORM)


def question(agent: str, server: str, tool: str, facts: Mapping[str, object]) -> bytes:
    """A check of `read` on one tool."""
    body = {
        "requestId": "bench",
        "principal": {"id": agent, "roles": ["agent"], "attr": dict(facts)},
        "resources": [
            {
                "actions": ["read"],
                "resource": {
                    "kind": server,
                    "id": f"{server}/{tool}",
                    "attr": {"tool_pinned": True},
                },
            }
        ],
    }
    return json.dumps(body).encode()


def install() -> Path:
    """Install the locked package once; the path of the binary.

    Raises:
        NotRun: there is no npm, no binary for this machine, or the package cannot be had.
    """
    npm = shutil.which("npm")
    if npm is None:
        raise NotRun("npm is not installed")
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        raise NotRun("the locked cerbos binary is for Linux on x86-64")
    lock = (HERE / "package-lock.json").read_bytes()
    stamp = TARGET / ".lock"
    if not stamp.is_file() or stamp.read_bytes() != lock:
        note("installing cerbos (once) …")
        scratch()
        shutil.rmtree(TARGET, ignore_errors=True)
        shutil.copytree(HERE, TARGET)
        done = subprocess.run(
            [npm, "ci", "--omit=dev", "--ignore-scripts", "--silent"],
            cwd=TARGET,
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )
        if done.returncode:
            raise NotRun(f"npm ci failed: {done.stderr.strip()[-300:]}")
        stamp.write_bytes(lock)
    return BINARY
