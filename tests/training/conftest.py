"""What holds for all tests of training."""

import few_threads  # noqa: F401
