"""How evidence about a running agent is gathered; one module per kind of platform.

An attestor looks for itself. What the agent says about its own code is never an input.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from actfor.identity.model import Appraised, Evidence, Instance, Measurement, Reference


class Attestor(Protocol):
    """Measures a process on one kind of platform. All methods block; call them in a thread."""

    @property
    def kind(self) -> str:
        """The ``Evidence.kind`` it understands."""
        ...

    @property
    def assurance(self) -> str:
        """What its word is worth; goes into the SVID as ``assurance``."""
        ...

    def measure(
        self, evidence: Evidence, reference: Reference, known: Sequence[Instance] = ()
    ) -> Appraised:
        """Look at the process and measure everything from the first byte.

        ``known`` are the agent's instances with that pid that were attested before.

        Raises:
            Refused: DENIED when the process is not a run of the referenced code; MALFORMED when
                the code cannot be measured.
        """
        ...

    def remeasure(self, reference: Reference, *, fresh: bool = False) -> Measurement:
        """Measure the referenced code again, cheaply where nothing was touched."""
        ...

    def ended(self, instance: Instance) -> str | None:
        """Why the attested process is no longer that process; None while it is."""
        ...
