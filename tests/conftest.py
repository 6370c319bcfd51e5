"""What holds for every test: Ctrl-C means KeyboardInterrupt, also where the tests were started in the background."""

import signal


def pytest_configure() -> None:
    # A shell without job control starts background commands with SIGINT ignored, which children would inherit.
    signal.signal(signal.SIGINT, signal.default_int_handler)
