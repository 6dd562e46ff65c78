"""Attest a process on this machine: the kernel says who asks, this server looks for itself.

Looked at: that the process descends from whoever asked and has the same user; that it sees the
same files as we do; the digest of the file it executes; that its command line runs the code below
the registered code root; every byte of that code; prompt and tool catalogue where they are files.

NOT held off: root, and other processes of the agent's own user, which can rewrite its memory
(``ATTESTED_LOCAL`` says so in every credential). Libraries outside the code root: see ``entry``.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence

from actfor.errors import Kind, Refused
from actfor.identity.attestors import process
from actfor.identity.attestors.entry import check_entry
from actfor.identity.measure import Measurer
from actfor.identity.model import (
    ATTESTED_LOCAL,
    LOCAL_PROCESS,
    Appraised,
    Evidence,
    Instance,
    Measurement,
    Reference,
)
from actfor.sdk.sockets import descends_from


class LocalProcessAttestor:
    """An ``Attestor``. The server must be root or run as the agent's user, or it may not look."""

    kind = LOCAL_PROCESS
    assurance = ATTESTED_LOCAL

    def __init__(self) -> None:
        self._measurer = Measurer()
        self._lock = threading.Lock()

    def measure(
        self, evidence: Evidence, reference: Reference, known: Sequence[Instance] = ()
    ) -> Appraised:
        """See ``Attestor``. A process among ``known`` keeps its entry point: it may have moved on
        to another working directory since, but it did not execute anything else.
        """
        pid = evidence.pid
        try:
            started_at, program = process.identify(pid)
            self._require_ours(evidence)
            if process.executable_digest(pid) != reference.executable.digest:
                raise Refused(
                    Kind.DENIED,
                    f"process executes `{process.look(pid).executable}`, "
                    f"which is not the registered `{reference.executable.path}`",
                )
            if not any((i.started_at, i.program) == (started_at, program) for i in known):
                check_entry(process.look(pid), reference.code_root)
            measurement = self.remeasure(reference, fresh=True)
            if process.identify(pid) != (started_at, program):
                raise Refused(Kind.DENIED, "the process became another one while it was measured")
        except ProcessLookupError as cause:
            raise Refused(Kind.DENIED, f"there is no process {pid}") from cause
        except PermissionError as cause:
            raise Refused(Kind.DENIED, f"this server may not examine process {pid}") from cause
        return Appraised(measurement, pid, started_at, program)

    def remeasure(self, reference: Reference, *, fresh: bool = False) -> Measurement:
        """See ``Attestor``."""
        with self._lock:
            return self._measurer.measure(reference, fresh=fresh)

    def ended(self, instance: Instance) -> str | None:
        """See ``Attestor``."""
        try:
            found = process.identify(instance.pid)
        except ProcessLookupError:
            return "the process has ended"
        except PermissionError:
            return "the process changed its user"
        if found[0] != instance.started_at:
            return "the process has ended"
        return None if found[1] == instance.program else "the process executes another program"

    def _require_ours(self, evidence: Evidence) -> None:
        if not descends_from(evidence.pid, evidence.peer_pid):
            raise Refused(Kind.DENIED, f"process {evidence.pid} was not started by whoever asks")
        process.require_user(evidence.pid, evidence.peer_uid)
        process.require_same_files(evidence.pid)
