"""What holds for every test: Ctrl-C, real clips, how many tests did not run for want of them, and a warm cache."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from real_media import ABSENT, RealMedia

from vidtag_cli.files import exclusive_lock


def pytest_configure() -> None:
    # A shell without job control starts background commands with SIGINT ignored, which children would inherit.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    reasons = [str(report.longrepr) for report in terminalreporter.getreports("skipped")]
    count = sum(ABSENT in reason for reason in reasons)
    terminalreporter.write_line(f"{count} tests skipped for want of real clips (tests/media/ORIGIN.md)")


@pytest.fixture(scope="session", autouse=True)
def one_processor_for_each_worker() -> Iterator[None]:
    """Sessions take a thread for each processor, and torch of the same process with them: in workers side by side
    (pytest-xdist) those wait for each other, and spin meanwhile.
    """
    with pytest.MonkeyPatch.context() as patch:
        if "PYTEST_XDIST_WORKER" in os.environ and hasattr(os, "sched_getaffinity"):
            patch.setattr(os, "sched_getaffinity", lambda process: {0})
        yield


@pytest.fixture(scope="session")
def media() -> RealMedia:
    """Return the real clips and tracks by name."""
    return RealMedia()


@pytest.fixture(scope="session")
def flyover_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder for ``$XDG_CACHE_HOME`` with the gallery of the bundled model, embedded once for all workers."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent  # each worker has a folder of its own in it
    cache = folder / "flyover-cache"
    with exclusive_lock(folder / "flyover-cache.lock", on_wait=lambda: None):
        if not cache.is_dir():
            demo = ["demo", "--threads", "1", "--out-dir", str(folder / "flyover-demo")]  # other tests run meanwhile
            command = [sys.executable, "-m", "vidtag_cli", *demo]
            environment = os.environ | {"XDG_CACHE_HOME": str(cache), "PYTHONPATH": str(Path(__file__).parents[1])}
            subprocess.run(command, env=environment, check=True, capture_output=True)
    return cache
