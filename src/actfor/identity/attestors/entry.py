"""Does this command line run the referenced code, and nothing before it?

An executable inside the code tree is the code. Otherwise it is an interpreter, and the program it
runs must be a file of the tree: not a ``-c`` text, not standard input, not a module from elsewhere.
Variables that make a loader or an interpreter run something else first are refused by name.

NOT checked: libraries outside the code tree (an environment's site-packages, shared libraries);
put them below the code root to have them measured.
"""

from __future__ import annotations

import os
from pathlib import Path

from actfor.errors import Kind, Refused
from actfor.identity.attestors.process import Run

_INJECTING = frozenset(
    {
        "LD_PRELOAD",
        "LD_AUDIT",
        "DYLD_INSERT_LIBRARIES",
        "PYTHONHOME",
        "PYTHONINSPECT",
        "NODE_OPTIONS",
        "PERL5OPT",
        "PERL5LIB",
        "RUBYOPT",
        "RUBYLIB",
        "BASH_ENV",
        "JAVA_TOOL_OPTIONS",
    }
)
_PYTHON_FLAGS = frozenset("bBdEIOPqsSuvx")


def check_entry(run: Run, code_root: str) -> None:
    """Refuse a run of anything but the code below ``code_root``.

    Raises:
        Refused: DENIED, saying which word or variable is the reason.
    """
    for name in sorted(_INJECTING & run.environ.keys()):
        if run.environ[name]:
            raise Refused(Kind.DENIED, f"variable `{name}` would run code that is not measured")
    if inside(run.executable, code_root):
        return
    if is_python(run.executable):
        _check_python(run, code_root)
    else:
        _check_interpreter(run, code_root)


def inside(path: str, root: str) -> bool:
    """Whether ``path``, links followed, is below ``root``."""
    real = os.path.realpath(path)
    return real.startswith(root.rstrip("/") + "/")


def is_python(executable: str) -> bool:
    """Whether an executable is a Python, by its name."""
    return Path(executable).name.lower().startswith(("python", "pypy"))


def _check_interpreter(run: Run, root: str) -> None:
    script = run.argv[1] if len(run.argv) > 1 else "-"
    if script.startswith("-"):
        raise Refused(
            Kind.DENIED,
            f"`{Path(run.executable).name}` must be given a file of the code tree first",
        )
    _require_file(run, script, root)


def _check_python(run: Run, root: str) -> None:
    words = list(run.argv[1:])
    flags: set[str] = set()
    prefix = None
    while words and words[0].startswith("-"):
        word = words.pop(0)
        if word in {"-m", "-W", "-X"} and not words:
            raise Refused(Kind.DENIED, f"python option `{word}` lacks its value")
        if word.startswith("-m"):
            module = word[2:] or words[0]
            _require_module(run, module, root, flags)
            _require_no_bytecode(run, root, flags, prefix)
            return
        if word.startswith("-X"):
            name, _, value = (word[2:] or words.pop(0)).partition("=")
            prefix = value if name == "pycache_prefix" else prefix
        elif word.startswith("-W"):
            _ = word[2:] or words.pop(0)
        elif len(word) > 1 and set(word[1:]) <= _PYTHON_FLAGS:
            flags |= set(word[1:])
        else:
            raise Refused(Kind.DENIED, f"python option `{word[:40]}` runs what is not measured")
    if not words:
        raise Refused(Kind.DENIED, "python without a file runs what is not measured")
    _require_file(run, words[0], root)
    _require_no_bytecode(run, root, flags, prefix)


def _require_file(run: Run, script: str, root: str) -> None:
    path = Path(run.cwd, script)
    if not inside(str(path), root) or not path.exists():
        raise Refused(Kind.DENIED, f"`{script[:200]}` is not in the code tree `{root}`")


def _require_module(run: Run, module: str, root: str, flags: set[str]) -> None:
    # `-m` looks in the working directory first, unless one of these keeps it out.
    if flags & {"I", "P"} or ("E" not in flags and run.environ.get("PYTHONSAFEPATH")):
        raise Refused(
            Kind.DENIED, f"python module `{module[:80]}` would not come from the code tree"
        )
    path = Path(run.cwd, *module.split("."))
    found = [path.with_name(path.name + ".py"), path / "__main__.py"]
    if not any(file.is_file() and inside(str(file), root) for file in found):
        raise Refused(
            Kind.DENIED, f"python module `{module[:80]}` is not in the code tree `{root}`"
        )


def _require_no_bytecode(run: Run, root: str, flags: set[str], prefix: str | None) -> None:
    """Python prefers ``__pycache__`` to the source, and trusts the stamp inside: it must look away.

    ``__pycache__`` is not measured because Python itself writes it. With a cache prefix elsewhere
    it neither reads nor writes bytecode in the tree.
    """
    environ = {} if flags & {"E", "I"} else run.environ
    effective = environ.get("PYTHONPYCACHEPREFIX") if prefix is None else prefix
    if not effective or not Path(effective).is_absolute() or inside(effective, root):
        raise Refused(
            Kind.DENIED,
            "python would read unmeasured bytecode from `__pycache__`; start it with `actfor run`",
        )
    for place in environ.get("PYTHONPATH", "").split(os.pathsep):
        if place and not inside(str(Path(run.cwd, place, "x")), root):
            raise Refused(Kind.DENIED, f"`{place[:200]}` in PYTHONPATH is not in the code tree")
