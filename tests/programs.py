"""`pytest --count-programs`: what the tests cost in programs compiled and processor seconds, whoever else uses the machine.

Each test's report carries its cost to the process that prints, so that it also works with `-n`.
"""

import resource
import sys
import time
from collections import Counter

import jax
import pytest

COMPILED = "/jax/core/compile/backend_compile_duration"
"""The event of a program that is compiled, or read from the cache of compiled programs."""


class ProgramCounter:
    """Costs of the phases of each test; those of collection are added to the first test of a process."""

    def __init__(self, dearest: int):
        self.dearest = dearest
        self.programs = 0
        self.before = (0, 0.0)
        self.costs: dict[str, Counter] = {}
        self.memory_mb = 0.0
        jax.monitoring.register_event_duration_secs_listener(self.count)

    def count(self, event: str, duration: float, **_: object) -> None:
        self.programs += event == COMPILED

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item, call: pytest.CallInfo):
        report = yield
        now = (self.programs, time.process_time())
        # Kilobytes on Linux, bytes on macOS.
        memory_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
        cost = {"programs": now[0] - self.before[0], "seconds": now[1] - self.before[1]}
        report.user_properties = [*report.user_properties, ("cost", cost), ("memory_mb", memory_mb)]
        self.before = now
        return report

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        facts = dict(report.user_properties)
        self.costs.setdefault(report.nodeid, Counter()).update(facts["cost"])
        self.memory_mb = max(self.memory_mb, facts["memory_mb"])

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        files: dict[str, Counter] = {}
        for name, cost in self.costs.items():
            files.setdefault(name.split("::")[0], Counter()).update(cost)
        for title, table in (("files", files), (f"the {self.dearest} dearest tests", self.costs)):
            terminalreporter.section(f"programs and processor seconds of {title}")
            ranked = sorted(table.items(), key=lambda entry: -entry[1]["seconds"])
            for name, cost in ranked[: None if table is files else self.dearest]:
                terminalreporter.line(f"{cost['programs']:6} {cost['seconds']:8.1f}  {name}")
        total = sum(self.costs.values(), Counter())
        terminalreporter.line(
            f"{total['programs']:6} {total['seconds']:8.1f}  in all; at most {self.memory_mb:.0f} MB a process"
        )
