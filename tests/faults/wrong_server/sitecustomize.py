"""What makes a server of R11 a mutant: found by its interpreter first, where PYTHONPATH names this.

Out of descriptors, it leaves who comes in the kernel's queue (asyncio's own loop) instead of taking
and closing them (libuv), and it keeps a connection on which nobody asks for an hour.
"""

from __future__ import annotations

import asyncio
from typing import Any

import uvicorn
import uvloop

as_it_is = uvicorn.Config.__init__


def keeps(self: uvicorn.Config, *given: Any, **named: Any) -> None:
    as_it_is(self, *given, **named | {"timeout_keep_alive": 3_600})


uvicorn.Config.__init__ = keeps  # type: ignore[method-assign] # the mutant
uvloop.new_event_loop = asyncio.new_event_loop  # type: ignore[assignment] # the mutant
