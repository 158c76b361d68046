"""What pytest asks of a run: which tests there are, what their outcomes are called, and what is written at the end.

With pytest-xdist every worker has a run of its own, and the controller's collects what theirs found.
"""

from __future__ import annotations

import traceback
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from edgefuse.errors import EdgeFuseError
from edgefuse.pytest_plugin.collect import bundle_nodes
from edgefuse.pytest_plugin.outcome import INCONCLUSIVE, Failed, Inconclusive, told
from edgefuse.pytest_plugin.run import FINDINGS

if TYPE_CHECKING:
    from edgefuse.pytest_plugin.run import Run

HERE = Path(__file__).parent
FIXTURES = "edgefuse_"
EXTRA = "edgefuse_findings"
"""The attribute of a report that carries them; pytest-xdist sends it."""

OUTPUT = "edgefuse"
"""What a worker of pytest-xdist leaves for the controller."""


class RunHooks:
    """Registered with pytest when something of EdgeFuse's is used."""

    def __init__(self, run: Run) -> None:
        self._run, self._unwritten = run, ""

    @pytest.hookimpl(wrapper=True)
    def pytest_make_collect_report(self, collector: pytest.Collector) -> Generator[None, Any, Any]:
        report: Any = yield
        if isinstance(collector, pytest.Session) and report.passed:
            report.result = [*report.result, *bundle_nodes(collector, self._run.wanted)]
        return report

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> Generator[None, Any, Any]:
        return (yield from self._without_traceback(item))

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, Any, Any]:
        return (yield from self._without_traceback(item))

    def _without_traceback(self, item: pytest.Item) -> Generator[None, Any, Any]:
        """Of a test with one of our fixtures: an error that is meant for a person is told as it is."""
        try:
            return (yield)
        except EdgeFuseError as error:
            ours = any(name.startswith(FIXTURES) for name in getattr(item, "fixturenames", ()))
            if not ours or self._run.config.option.fulltrace:
                raise
            raise Failed(f"{told(error)}{_asked_at(error, item)}") from None

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any, Any]:
        report: Any = yield
        error = call.excinfo.value if call.excinfo is not None else None
        if isinstance(error, Inconclusive):
            report.edgefuse_outcome = INCONCLUSIVE
        if isinstance(error, pytest.skip.Exception) and Path(report.longrepr[0]).parent == HERE:
            path, line, _ = item.reportinfo()
            report.longrepr = (str(path), (line or 0) + 1, str(error))
        if call.when == "call" or (call.when == "setup" and not report.passed):
            setattr(report, EXTRA, item.stash.get(FINDINGS, []))
        return report

    def pytest_runtest_logfinish(self) -> None:
        if self._run.is_worker:  # the other workers' turn
            self._run.pause()

    def pytest_report_teststatus(self, report: Any) -> tuple[str, str, tuple[str, dict[str, bool]]] | None:
        if getattr(report, "edgefuse_outcome", None) == INCONCLUSIVE:
            return INCONCLUSIVE, "?", (INCONCLUSIVE.upper(), {"yellow": True})
        words = [found["word"] for found in getattr(report, EXTRA, ()) if found["word"]]
        if report.skipped and len(words) == 1:
            return "skipped", "s", (words[0].upper(), {"yellow": True})
        return None

    def pytest_runtest_logreport(self, report: Any) -> None:
        if not self._run.is_worker:
            self._run.found += getattr(report, EXTRA, ())

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """A worker of pytest-xdist has ended."""
        for devices, bundles in getattr(node, "workeroutput", {}).get(OUTPUT, ()):
            self._run.devices += devices
            self._run.bundles.update(bundles)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """A report that was asked for and is not there is no success."""
        run = self._run
        run.close()
        if run.is_worker:
            vars(run.config)["workeroutput"][OUTPUT] = [(run.devices, run.bundles)]
        elif not run.config.option.collectonly:
            self._write()
            if self._unwritten and session.exitstatus == pytest.ExitCode.OK:
                session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def _write(self) -> None:
        from edgefuse.pytest_plugin.report import write_report

        settings = self._run.settings
        try:
            if settings.report is not None:
                write_report(settings.report, self._run)
        except OSError as error:
            self._unwritten = f"--edgefuse-report: could not write {settings.report}: {error.strerror}"

    @pytest.hookimpl(trylast=True)
    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        from edgefuse.pytest_plugin.report import write_summary

        write_summary(terminalreporter, self._run)
        if self._unwritten:
            terminalreporter.write_line(self._unwritten, red=True)
        elif self._run.found and self._run.settings.report is not None:
            terminalreporter.write_line(f"report: {self._run.settings.report}")


def _asked_at(error: EdgeFuseError, item: pytest.Item) -> str:
    """The line of the user's test that asked, if it did."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if Path(frame.filename) == item.path]
    return f"\n{item.path.name}:{frames[-1].lineno}: {frames[-1].line}" if frames else ""
