"""The model on disk: its contract, its files, where models are found."""

from __future__ import annotations

from vidtag_cli.bundle.installed_models import find_model, install_model, list_models
from vidtag_cli.bundle.integrity import verify_bundle
from vidtag_cli.bundle.load import ModelBundle, ModelGraph, load_bundle

__all__ = ["ModelBundle", "ModelGraph", "find_model", "install_model", "list_models", "load_bundle", "verify_bundle"]
