"""The onnxruntime module, imported so that it sends nothing and prints nothing."""

from __future__ import annotations

import importlib
import os
from types import ModuleType

from vidtag_cli.errors import ModelError

TELEMETRY_OFF_VARIABLE = "ORT_DISABLE_TELEMETRY"
"""Read by the library when it is loaded: set to 1, it makes no device id, no cache file and no upload."""

CONFIG_FROM_MODEL_VARIABLE = "ORT_LOAD_CONFIG_FROM_MODEL"
"""When set, the library takes session options from a model's metadata; ours are the only ones."""

_LOG_ERRORS_ONLY = 3


def import_onnxruntime() -> ModuleType:
    """Return the onnxruntime module.

    Its official builds report usage to their maker over the network and leave a device id in the user's cache folder
    from the moment of the import. Evidence work must do neither, so the switch is set first, whatever the environment
    says. Raises ModelError when the package is not installed.
    """
    os.environ[TELEMETRY_OFF_VARIABLE] = "1"
    os.environ.pop(CONFIG_FROM_MODEL_VARIABLE, None)
    try:
        onnxruntime = importlib.import_module("onnxruntime")
    except ImportError as error:
        raise ModelError(
            f"onnxruntime cannot be imported ({error}): install vidtag-geo[cpu], or vidtag-geo[gpu] for an NVIDIA GPU"
        ) from error
    # The variable does not reach builds that report through the Windows event log; this call does.
    onnxruntime.disable_telemetry_events()
    onnxruntime.set_default_logger_severity(_LOG_ERRORS_ONLY)
    return onnxruntime


def onnxruntime_errors() -> tuple[type[Exception], ...]:
    """Return the exceptions that onnxruntime raises; they share no base class of their own."""
    bindings = importlib.import_module("onnxruntime.capi.onnxruntime_pybind11_state")
    own = [value for value in vars(bindings).values() if isinstance(value, type) and issubclass(value, Exception)]
    return (*own, RuntimeError, ValueError)
