"""The rigs' last lines stand at the end of the run, where a person and a script will find them."""

import pytest


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    lines = [
        value
        for reports in terminalreporter.stats.values()
        for report in reports
        if getattr(report, "when", None) == "call"
        for name, value in getattr(report, "user_properties", ())
        if name == "report"
    ]
    if lines:
        terminalreporter.section("fault rigs")
        for line in sorted(lines):
            terminalreporter.write_line(line)
