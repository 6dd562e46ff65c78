"""`actfor policy test`: decision tables, without a server; for a terminal, a script or a CI."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from xml.etree import ElementTree as ET

import typer

from actfor.cli.output import clean, emit, note, out
from actfor.cli.policy.common import JsonOption, pack_values, read
from actfor.errors import Kind, Refused

if TYPE_CHECKING:
    from actfor.authorization import Outcome

    Results = Sequence[tuple[str, list[Outcome]]]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(test)


def test(
    files: Annotated[
        list[Path] | None,
        typer.Argument(help="YAML decision tables.  [default: those of the pack]"),
    ] = None,
    pack: Annotated[
        str, typer.Option(help="Test this packaged pack, on top of the default pack.")
    ] = "",
    chosen: Annotated[
        list[str] | None, typer.Option("--set", help="NAME=VALUE: a parameter of the pack.")
    ] = None,
    policies: Annotated[
        list[Path] | None, typer.Option(help="Cedar files.  [default: the default pack]")
    ] = None,
    junit: Annotated[Path | None, typer.Option(help="Also write a JUnit report here.")] = None,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Name what passes.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Run decision tables against policies, without a server.

    Exits 0 if every scenario is decided as written, 1 if one is not, 2 if anything is unreadable.

    Example: actfor policy test tables/*.yaml --policies mine.cedar
    """
    try:
        results = _decided(files or [], pack, chosen or [], policies or [])
    except Refused as refused:
        raise Refused(Kind.MALFORMED, refused.detail) from None
    if junit is not None:
        _write(junit, report(results))
    if as_json:
        emit([_row(name, each) for name, rows in results for each in rows], as_json=True)
    else:
        for line in _lines(results, verbose=verbose):
            out.print(clean(line), markup=False)
    failed = sum(each.failure is not None for _, rows in results for each in rows)
    total = sum(len(rows) for _, rows in results)
    if failed:
        note(f"{failed} of {total} scenarios failed")
        raise typer.Exit(1)
    note(f"all {total} scenarios are decided as written")


def _decided(files: list[Path], pack: str, chosen: list[str], policies: list[Path]) -> Results:
    try:
        from actfor.authorization import decide_scenarios
        from actfor.authorization.policies import pack_source, pack_table
    except ImportError as missing:
        raise Refused(Kind.NOT_FOUND, "policies are tested by `actfor[server]`") from missing
    if pack and policies:
        raise Refused(Kind.MALFORMED, "test a pack or files of policies, not both")
    if chosen and not pack:
        raise Refused(Kind.MALFORMED, "--set chooses a parameter of a pack: name it with --pack")
    if not files and not pack:
        raise Refused(Kind.MALFORMED, "name decision tables, or a pack with --pack")
    tables = [(str(path), read([path])) for path in files]
    if not pack:
        return decide_scenarios(tables, read(policies) if policies else None)
    source = pack_source(pack, pack_values(chosen))
    return decide_scenarios(tables or [(f"pack {pack}", pack_table(pack))], source)


def _write(file: Path, content: bytes) -> None:
    try:
        file.write_bytes(content)
    except OSError as error:
        raise Refused(Kind.MALFORMED, f"`{file}`: {error.strerror}") from None


def _lines(results: Results, *, verbose: bool) -> list[str]:
    lines: list[str] = []
    for name, rows in results:
        failed = [each for each in rows if each.failure is not None]
        lines.append(f"{name}: {len(rows) - len(failed)} of {len(rows)} as written")
        for each in rows if verbose else failed:
            mark = "✗" if each.failure is not None else "✓"
            lines.append(f"  {mark} it {each.scenario.it}")
            if each.failure is not None:
                lines.append(f"    {each.failure}")
    return lines


def _row(name: str, outcome: Outcome) -> dict[str, Any]:
    return {
        "table": name,
        "it": outcome.scenario.it,
        "passed": outcome.failure is None,
        "failure": outcome.failure,
        "decision": outcome.decision.effect.value,
        "policies": list(outcome.decision.policies),
        "reasons": list(outcome.decision.reasons),
    }


def report(results: Results) -> bytes:
    """The results as JUnit XML, as every CI reads it: a suite for each table."""
    suites = ET.Element("testsuites")
    for name, rows in results:
        failures = sum(each.failure is not None for each in rows)
        suite = ET.SubElement(
            suites, "testsuite", name=name, tests=str(len(rows)), failures=str(failures)
        )
        for each in rows:
            case = ET.SubElement(suite, "testcase", classname=name, name=f"it {each.scenario.it}")
            if each.failure is not None:
                ET.SubElement(case, "failure", message=clean(each.failure))
    written: bytes = ET.tostring(suites, encoding="utf-8", xml_declaration=True)
    return written
