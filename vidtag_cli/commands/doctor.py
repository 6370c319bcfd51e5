"""``vidtag doctor``: what this machine can run, and why not the rest."""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import platform
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import typer

from vidtag_cli import DISTRIBUTION, __version__
from vidtag_cli.commands.console import output_json, output_lines, path_fields, printable, say_error
from vidtag_cli.commands.options import JsonOption
from vidtag_cli.errors import ModelError, UsageError, VidtagError

PACKAGES = ("numpy", "av", "lxml", "faiss", "onnxruntime", "typer", "rich")
"""Python modules that a run needs; the wheel that brings one may have another name."""

NAMESAKE = "vidtag"
"""The distribution of another project on PyPI, whose command has the name of ours."""


def doctor_command(as_json: JsonOption = False) -> None:
    """Say what this machine can run: versions, ffmpeg, engines, models. Exit code 6 when a run is not possible."""
    machine = examine_machine()
    if as_json:
        output_json(machine)
    else:
        output_lines([printable(line) for line in _lines(machine)])
    if not machine["ok"]:
        if as_json:  # the object on stdout is the answer; the text has said it in its last line
            say_error("not ready: " + "; ".join(machine["problems"]))
        raise typer.Exit(ModelError.exit_code)


def examine_machine() -> dict[str, Any]:
    """Return what this machine has and lacks; ``problems`` names what no video can be located without."""
    packages = _packages()
    ffmpeg = _ffmpeg()
    engines = _engines()
    models = _models()
    problems = [f"{name}: {package['problem']}" for name, package in packages.items() if package["problem"]]
    problems += [f"ffmpeg: {ffmpeg['problem']}"] if ffmpeg["problem"] else []
    problems += [] if any(engine["usable"] for engine in engines) else ["no engine can run here"]
    engine_cache = _engine_cache()
    problems += [engine_cache["problem"]] if engine_cache["problem"] else []
    problems += [f"model {model['name']}: {model['problem']}" for model in models if model["problem"]]
    default_model = _default_model()
    problems += [default_model["problem"]] if default_model["problem"] else []
    problems += _cache_problems()
    return {
        "ok": not problems,
        "problems": problems,
        "warnings": _namesake_warnings(),
        "vidtag": __version__,
        "distribution": DISTRIBUTION,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": packages,
        "ffmpeg": ffmpeg,
        "engines": engines,
        "engine_cache": engine_cache,
        "models": models,
        "default_model": default_model,
        "folders": _folders(),
        "leftovers": _leftovers(),
    }


def _namesake_warnings() -> list[str]:
    """Return what to say where a distribution stands beside ours whose command has the same name."""
    try:
        version = importlib.metadata.version(NAMESAKE)
    except importlib.metadata.PackageNotFoundError:
        return []
    return [
        f"the package {NAMESAKE} {version} is installed too. On PyPI that is another project's, and both bring a "
        f"command {NAMESAKE}: pip uninstall {NAMESAKE}, then install {DISTRIBUTION} again"
    ]


def _packages() -> dict[str, dict[str, str]]:
    wheels = importlib.metadata.packages_distributions()
    packages = {}
    for module in PACKAGES:
        names = sorted(set(wheels.get(module, ())))
        versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in names)
        packages[module] = {"found": versions, "problem": _import_problem(module, names)}
    return packages


def _import_problem(module: str, wheels: list[str]) -> str:
    if len(wheels) > 1:
        return f"{' and '.join(wheels)} overwrite each other: uninstall both, then install one"
    try:
        if module == "onnxruntime":
            from vidtag_cli.engines.onnxruntime_session import import_onnxruntime

            import_onnxruntime()
        else:
            importlib.import_module(module)
    except (ImportError, VidtagError) as error:
        needs_extra = module in ("faiss", "onnxruntime")
        advice = f"{DISTRIBUTION}[cpu] or {DISTRIBUTION}[gpu]" if needs_extra else f"{DISTRIBUTION} again"
        return str(error) if isinstance(error, VidtagError) else f"{error}; install {advice}"
    return ""


def _ffmpeg() -> dict[str, str]:
    from vidtag_cli.video.ffmpeg import find_ffmpeg

    try:
        binary = find_ffmpeg()
    except VidtagError as error:
        return {"version": "", "problem": str(error)}
    return {"version": binary.version, "problem": ""} | path_fields(binary.path)


def _engines() -> list[dict[str, Any]]:
    from vidtag_cli.engines.opening import available_engines

    fields = ("name", "device", "usable", "reason", "builds_for")
    return [{field: getattr(status, field) for field in fields} for status in available_engines()]


def _engine_cache() -> dict[str, Any]:
    from vidtag_cli.engines.cache_limit import cache_limit_bytes, stored_bytes
    from vidtag_cli.engines.engine_files import engine_folder

    usage = {"bytes": stored_bytes(engine_folder()), "limit_bytes": None, "problem": ""}
    try:
        return usage | {"limit_bytes": cache_limit_bytes()}
    except VidtagError as error:
        return usage | {"problem": str(error)}


def _models() -> list[dict[str, str]]:
    from vidtag_cli.bundle.installed_models import list_models
    from vidtag_cli.bundle.integrity import verify_bundle

    models = []
    for model in list_models():
        sha256, problem = "", model.problem
        if not problem:
            report = verify_bundle(model.path)
            sha256 = report.sha256
            problem = "; ".join(f"{check.path}: {check.status}" for check in report.files if not check.is_ok)
        fields = {"name": model.name, "origin": model.origin, "sha256": sha256, "problem": problem}
        models.append(fields | path_fields(model.path))
    return models


def _default_model() -> dict[str, str]:
    from vidtag_cli.bundle.installed_models import find_model

    try:
        return path_fields(find_model()) | {"note": "", "problem": ""}
    except UsageError as error:  # the configuration cannot be read; that no model is named is no problem
        return {"path": "", "note": str(error), "problem": str(error)}
    except VidtagError as error:
        return {"path": "", "note": str(error), "problem": ""}


def _cache_problems() -> list[str]:
    """Return why nothing can be kept in the cache, where every model's gallery goes once; leaves nothing there."""
    from vidtag_cli.bundle.folders import cache_dir

    folder = cache_dir()
    try:
        while not folder.exists():
            folder = folder.parent
        with tempfile.TemporaryFile(dir=folder):
            return []
    except OSError as error:
        return [
            f"{cache_dir()}: the cache cannot be written ({error.strerror or error}): set XDG_CACHE_HOME to a folder "
            "that can be"
        ]


def _folders() -> dict[str, str]:
    from vidtag_cli.bundle.folders import cache_dir, models_dir, user_config_file

    paths = {"models": models_dir(), "cache": cache_dir(), "config": user_config_file()}
    return {name: path_fields(path)["path"] for name, path in paths.items()}


def _leftovers() -> list[dict[str, Any]]:
    """Return what killed runs left where this program writes: the working folder, the models, the cache."""
    from vidtag_cli.bundle.folders import cache_dir, models_dir
    from vidtag_cli.pipeline.output_journal import find_unsettled

    in_cache = [Path(root) for root, _, _ in os.walk(cache_dir())]
    paths = [path for folder in (Path.cwd(), models_dir(), *in_cache) for path in find_unsettled(folder)]
    return [path_fields(path) | {"bytes": _size_bytes(path)} for path in paths]


def _size_bytes(path: Path) -> int:
    total = 0
    for member in [path, *path.rglob("*")]:
        with suppress(OSError):  # another run settles it just now
            total += member.lstat().st_size if member.is_file() else 0
    return total


def _lines(machine: dict[str, Any]) -> list[str]:
    program = f"vidtag {machine['vidtag']} ({machine['distribution']})"
    lines = [f"{program}, Python {machine['python']}, {machine['platform']}", "", "packages"]
    lines += [f"  {name}: {package['problem'] or package['found']}" for name, package in machine["packages"].items()]
    ffmpeg = machine["ffmpeg"]
    lines += [f"  ffmpeg: {ffmpeg['problem'] or ffmpeg['version'] + ', ' + ffmpeg['path']}", "", "engines"]
    for engine in machine["engines"]:
        name, device = engine["name"], engine["device"]
        reason = engine["reason"].removeprefix(f"{device}: ").removeprefix(f"{name}: ")
        lines.append(f"  {name} on {device}: {'ready' if engine['usable'] else reason}")
        if engine["builds_for"]:
            lines.append(f"    builds engines ahead of time for {', '.join(engine['builds_for'])}")
    cache = machine["engine_cache"]
    limit = cache["problem"] or f"of {cache['limit_bytes'] / 1e9:g} GB at most"
    lines += [f"  built engines: {cache['bytes'] / 1e9:.1f} GB {limit}", "", "models"]
    lines += [
        f"  {m['name']} ({m['origin']}): {m['problem'] or 'hashes right'}, {m['path']}" for m in machine["models"]
    ]
    default = machine["default_model"]
    lines += [f"  default: {default['note'] or default['path']}", "", "folders"]
    lines += [f"  {name}: {path}" for name, path in machine["folders"].items()]
    lines += ["", *(f"warning: {text}" for text in machine["warnings"])] if machine["warnings"] else []
    if machine["leftovers"]:
        lines += ["", "left by killed runs, settled by the next run that writes there"]
        lines += [f"  {left['path']}: {left['bytes'] / 1e6:.1f} MB" for left in machine["leftovers"]]
    lines += ["", "ready" if machine["ok"] else "not ready: " + "; ".join(machine["problems"])]
    return lines
