"""The model that a configuration file names as the default."""

from __future__ import annotations

import tomllib
from pathlib import Path

from vidtag_cli.bundle.contract import is_model_name
from vidtag_cli.bundle.folders import PROJECT_CONFIG_FILE, user_config_file
from vidtag_cli.errors import UsageError


def configured_model() -> tuple[str, Path] | None:
    """Return the default model, a name or a path, and the file that says so; the project comes before the user.

    A relative path counts from the file's own folder. Raises UsageError when a file is there but cannot be understood.
    """
    for path in (PROJECT_CONFIG_FILE, user_config_file()):
        model = _model_in(path)
        if model is not None:
            return model, path
    return None


def _model_in(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            settings = tomllib.load(file)
    except FileNotFoundError:
        return None
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: cannot be read: {error}") from error
    unknown = sorted(set(settings) - {"model"})
    if unknown:
        raise UsageError(f"{path}: unknown keys: {', '.join(unknown)}; the one key is model")
    model = settings.get("model")
    if model is None:
        return None
    if not isinstance(model, str) or not model:
        raise UsageError(f"{path}: model: expected a name or a path in quotes, found {model!r}")
    return model if is_model_name(model) else str(path.parent / model)
