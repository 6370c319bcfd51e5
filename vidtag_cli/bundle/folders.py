"""Where vidtag keeps things on this machine."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs

APP_NAME = "vidtag"
HOME_VARIABLE = "VIDTAG_HOME"
PACKAGED_MODELS_DIR = Path(__file__).resolve().parents[1] / "data"
"""Models that ship with the program."""

PACKAGED_RECIPES_DIR = PACKAGED_MODELS_DIR / "recipes"
"""Recipes of models that are made from published weights, a folder each."""

PROJECT_CONFIG_FILE = Path("vidtag.toml")
"""Looked for in the working folder."""


def models_dir() -> Path:
    """Return the folder of installed models; it may not exist yet."""
    home = _home()
    return (home or platformdirs.user_data_path(APP_NAME, appauthor=False)) / "models"


def cache_dir() -> Path:
    """Return the folder for what can be made again, such as embedded galleries and engines; it may not exist yet."""
    home = _home()
    return home / "cache" if home else platformdirs.user_cache_path(APP_NAME, appauthor=False)


def user_config_file() -> Path:
    """Return the path of the user's configuration file; it may not exist."""
    home = _home()
    folder = home or platformdirs.user_config_path(APP_NAME, appauthor=False)
    return folder / "vidtag.toml"


def _home() -> Path | None:
    text = os.environ.get(HOME_VARIABLE)
    return Path(text) if text else None
