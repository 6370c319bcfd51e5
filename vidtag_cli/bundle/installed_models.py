"""The models on this machine: finding one by name or by what a configuration file says, listing, installing."""

from __future__ import annotations

import os
import shutil
import stat
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from vidtag_cli.bundle.bundle_json import read_bundle_json
from vidtag_cli.bundle.contract import BUNDLE_JSON, BUNDLE_SUFFIX, is_model_name
from vidtag_cli.bundle.folders import PACKAGED_MODELS_DIR, PROJECT_CONFIG_FILE, models_dir, user_config_file
from vidtag_cli.bundle.integrity import inside_path, listed_files
from vidtag_cli.bundle.load import load_bundle
from vidtag_cli.errors import ModelError, OutputError, UsageError
from vidtag_cli.files import replace_folder

MAX_CONFIG_BYTES = 1 << 16
MODEL_VARIABLE = "VIDTAG_MODEL"
TOY_MODEL = "flyover"
"""Shipped so that the program can be tried; never chosen unless named."""

HOW_TO_GET_A_MODEL = (
    "`vidtag models list` shows what is here, `vidtag models install PATH` installs a model folder, "
    f"`--model {TOY_MODEL}` runs the demonstration model, which knows views from high above and no street."
)


@dataclass(frozen=True, slots=True)
class InstalledModel:
    """A model that can be named. ``problem`` says why ``bundle.json`` cannot be read, and is empty when it can."""

    name: str
    path: Path
    origin: Literal["installed", "packaged"]
    kind: str
    version: str
    problem: str = ""


def find_model(name_or_path: str | Path | None = None, isolated: bool = False) -> Path:
    """Return the folder of the model to use: the argument, else ``$VIDTAG_MODEL``, else the configuration's default.

    A text with a slash or ending in ``.vidtag`` is a path, anything else a name, looked up among the installed models
    and then among those that ship with the program. ``isolated`` reads no configuration file. The folder's content is
    not checked. Raises ModelError when nothing is named or found; no model is ever chosen by itself.
    """
    if name_or_path is not None:
        return _find(str(name_or_path), "")
    from_environment = os.environ.get(MODEL_VARIABLE)
    if from_environment:
        return _find(from_environment, f" (from ${MODEL_VARIABLE})")
    configured = None if isolated else _configured_model()
    if configured is not None:
        model, config_file = configured
        return _find(model, f" (from {config_file})")
    raise ModelError(
        f"no model is named: give --model, set ${MODEL_VARIABLE} or `model` in vidtag.toml. {HOW_TO_GET_A_MODEL}"
    )


def list_models() -> tuple[InstalledModel, ...]:
    """Return the models that can be named, by name; an installed one hides a packaged one of the same name."""
    models: dict[str, InstalledModel] = {}
    for origin, folder in _model_folders():
        for path in sorted(folder.glob(f"*{BUNDLE_SUFFIX}")):
            if is_model_name(path.stem):
                models.setdefault(path.stem, _describe(path, origin))
    return tuple(models[name] for name in sorted(models))


def install_model(source_dir: str | Path, force: bool = False) -> Path:
    """Return the folder of a model copied among the installed ones, under the name its ``bundle.json`` gives.

    The source is verified first and the copy again; only listed files are copied. An existing model of that name is
    replaced only with ``force``, by one rename, so that no half model is ever found. Raises ModelError or OutputError.
    """
    bundle = load_bundle(source_dir)
    target = models_dir() / f"{bundle.name}{BUNDLE_SUFFIX}"
    if target.resolve() == bundle.path:
        raise OutputError(f"{target}: this folder is the installed model itself; nothing to do")
    if target.exists() and not force:
        raise OutputError(f"{target}: the model {bundle.name!r} is installed already; --force replaces it")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with replace_folder(target) as fresh:
            for relative in [BUNDLE_JSON, *listed_files(bundle.contract)]:
                copy = fresh / relative
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(inside_path(bundle.path, relative), copy)
            load_bundle(fresh)
    except OSError as error:
        raise OutputError(f"{target}: cannot be installed: {error}") from error
    return target


def _find(text: str, where_from: str) -> Path:
    if not is_model_name(text):
        path = Path(text)
        if not path.is_dir():
            raise ModelError(f"{text}{where_from}: no such model folder. {HOW_TO_GET_A_MODEL}")
        return path
    for _, folder in _model_folders():
        path = folder / f"{text}{BUNDLE_SUFFIX}"
        if path.is_dir():
            return path
    hint = f"a folder of that name is here: write ./{text} to use it. " if Path(text).is_dir() else ""
    raise ModelError(f"{text}{where_from}: no model of this name is installed. {hint}{HOW_TO_GET_A_MODEL}")


def _model_folders() -> Iterator[tuple[Literal["installed", "packaged"], Path]]:
    yield "installed", models_dir()
    yield "packaged", PACKAGED_MODELS_DIR


def _describe(path: Path, origin: Literal["installed", "packaged"]) -> InstalledModel:
    try:
        contract = read_bundle_json(path)
    except ModelError as error:
        return InstalledModel(path.stem, path, origin, "", "", str(error))
    return InstalledModel(path.stem, path, origin, contract.kind, contract.version)


def _configured_model() -> tuple[str, Path] | None:
    """Return the default model, a name or a path, and the file that says so; the project comes before the user.

    A relative path counts from the file's own folder. Raises UsageError when a file is there but cannot be understood.
    """
    for path in (PROJECT_CONFIG_FILE, user_config_file()):
        model = _model_in(path)
        if model is not None:
            return model, path
    return None


def _read_settings(path: Path) -> bytes:
    """Return what a configuration file holds; raises UsageError for a pipe, which would be waited for, and the like."""
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK), "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode) or status.st_size > MAX_CONFIG_BYTES:
            raise UsageError(f"{path}: not a file of settings: remove it, or write the name of a model into it")
        return file.read()


def _model_in(path: Path) -> str | None:
    try:
        settings = tomllib.loads(_read_settings(path).decode("utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
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
