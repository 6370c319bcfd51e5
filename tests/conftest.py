"""What holds for every test: Ctrl-C, real clips, and how many tests did not run for want of them."""

import signal

import pytest
from real_media import ABSENT, RealMedia


def pytest_configure() -> None:
    # A shell without job control starts background commands with SIGINT ignored, which children would inherit.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    reasons = [str(report.longrepr) for report in terminalreporter.getreports("skipped")]
    count = sum(ABSENT in reason for reason in reasons)
    terminalreporter.write_line(f"{count} tests skipped for want of real clips (tests/media/ORIGIN.md)")


@pytest.fixture(scope="session")
def media() -> RealMedia:
    """Return the real clips and tracks by name."""
    return RealMedia()
