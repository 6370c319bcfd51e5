"""Published weights of the backbones, from a file, a folder or the hub, offline first, checked to the last key."""

from __future__ import annotations

import json
import logging
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from training.model.backbones import DinoClassToken, SiglipPooled
from training.model.dual_encoder import DualFrameEncoder
from vidtag_cli.bundle.integrity import sha256_of
from vidtag_cli.errors import InputError, ModelError

_log = logging.getLogger("training")

HUB = "hub:"
_RefusedByTorch: type[Exception] = torch.serialization.pickle.UnpicklingError
_CLIP_FILES = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")
_CLIP_CONFIG, _CONFIG, _TRANSFORMERS_FILE = "open_clip_config.json", "config.json", "model.safetensors"
_NAMED_KEYS = 6
"""How many keys of each kind an error names."""

_NOT_SEEN = ("text_model.", "logit_scale", "logit_bias")
"""Keys of SigLIP's other half."""

_SHAPES: dict[type[nn.Module], tuple[str, ...]] = {
    DinoClassToken: (
        "model_type", "hidden_size", "num_hidden_layers", "num_attention_heads", "mlp_ratio", "patch_size",
        "image_size", "num_register_tokens", "hidden_act", "layer_norm_eps", "qkv_bias", "use_swiglu_ffn",
    ),
    SiglipPooled: (
        "model_type", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "patch_size",
        "image_size", "hidden_act", "layer_norm_eps",
    ),
}  # fmt: skip
"""What a published config.json must agree with: some of it leaves no trace in the shapes of the weights."""


@dataclass(frozen=True, slots=True)
class WeightsRecord:
    """Where weights came from: what was asked for, the file's name, its SHA-256."""

    source: str
    file: str
    sha256: str


def load_published(
    encoder: DualFrameEncoder, clip: str, second: str, allow_download: bool = False
) -> dict[str, WeightsRecord]:
    """Put published weights into both branches, freeze them, and return where they came from by branch.

    ``clip`` and ``second`` are each a file, a folder or ``hub:NAME``, which is looked up in the local cache only unless
    ``allow_download``. Raises InputError when nothing is there and ModelError, with the names of the keys, when the
    weights are not those of the branch.
    """
    records = {
        "clip": _load_clip(encoder.clip, clip, allow_download),
        "second": _load_transformers(encoder.dino, second, allow_download),
    }
    encoder.requires_grad_(False).eval()
    for name, record in records.items():
        _log.info("backbone %s: %s, sha256 %s", name, record.source, record.sha256)
    return records


def _load_clip(tower: nn.Module, source: str, allow_download: bool) -> WeightsRecord:
    """Load open_clip's image tower; its text tower, if the file holds one, is passed over."""
    path = _resolve(source, (*_CLIP_FILES, _CLIP_CONFIG), allow_download)
    file = path if path.is_file() else _first_file(path, _CLIP_FILES, source)
    _check_clip_config(tower, file.parent / _CLIP_CONFIG)
    tensors = _read_tensors(file)
    visual = {name.removeprefix("visual."): value for name, value in tensors.items() if name.startswith("visual.")}
    if not visual and any(name.startswith("vision_model.") for name in tensors):
        raise ModelError(f"{file}: CLIP in transformers' form; open_clip's is wanted ({' or '.join(_CLIP_FILES)})")
    _load_exactly(tower, visual or tensors, file)
    return WeightsRecord(source, file.name, sha256_of(file))


def _load_transformers(branch: nn.Module, source: str, allow_download: bool) -> WeightsRecord:
    """Load DINOv2 or SigLIP through transformers, whose names of layers differ from those in published files."""
    if not isinstance(branch, DinoClassToken | SiglipPooled):
        raise TypeError(f"the second branch is {type(branch).__name__}, which nobody publishes weights of")
    path = _resolve(source, (_CONFIG, _TRANSFORMERS_FILE), allow_download)
    file = path if path.is_file() else _first_file(path, (_TRANSFORMERS_FILE,), source)
    if path.is_dir():
        _check_config(branch, path / _CONFIG)
    if file.suffix != ".safetensors":
        raise ModelError(f"{file}: a safetensors file is wanted")
    _read_tensors(file)  # says so when the file is damaged, before transformers guesses
    with tempfile.TemporaryDirectory() as folder, _quiet_transformers():
        (Path(folder) / _TRANSFORMERS_FILE).symlink_to(file.resolve())
        loaded, report = type(branch.backbone).from_pretrained(
            folder, config=branch.backbone.config, local_files_only=True, use_safetensors=True, dtype=torch.float32,
            output_loading_info=True, ignore_mismatched_sizes=True,
        )  # fmt: skip
    unexpected = [name for name in report["unexpected_keys"] if not name.startswith(_NOT_SEEN)]
    mismatched = [f"{name} {tuple(stored)} instead of {tuple(own)}" for name, stored, own in report["mismatched_keys"]]
    _refuse(file, report["missing_keys"], unexpected, mismatched)
    branch.backbone.load_state_dict(loaded.state_dict())
    return WeightsRecord(source, file.name, sha256_of(file))


@contextmanager
def _quiet_transformers() -> Iterator[None]:
    """Keep back transformers' own report: what matters of it is told here, and as an error."""
    logger = logging.getLogger("transformers")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)


def _resolve(source: str, patterns: tuple[str, ...], allow_download: bool) -> Path:
    """Return the file or folder that a source names."""
    if not source:
        raise InputError("no weights are named for a backbone: give a file, a folder or hub:NAME")
    if not source.startswith(HUB):
        path = Path(source)
        if not path.exists():
            raise InputError(f"{source}: no such file or folder of weights")
        return path
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    name = source.removeprefix(HUB)
    try:
        return Path(snapshot_download(name, local_files_only=not allow_download, allow_patterns=list(patterns)))
    except (LocalEntryNotFoundError, HfHubHTTPError, HFValidationError, OSError) as error:
        way = "the hub did not give it" if allow_download else "not in the local cache; --allow-download fetches it"
        raise InputError(f"{source}: {way}, or name a file or folder instead: {error}") from error


def _first_file(folder: Path, names: Iterable[str], source: str) -> Path:
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise InputError(f"{source}: holds none of {', '.join(names)}")


def _read_tensors(file: Path) -> dict[str, Tensor]:
    """Return the tensors of a safetensors file or of a torch file that holds nothing else."""
    try:
        if file.suffix == ".safetensors":
            return load_file(file)
        stored = torch.load(file, map_location="cpu", weights_only=True)
    except (SafetensorError, RuntimeError, EOFError, ValueError, OSError, _RefusedByTorch) as error:
        hint = "" if file.suffix == ".safetensors" else "; TorchScript and foreign objects are never opened"
        raise ModelError(f"{file}: not a file of nothing but tensors{hint}: {error}") from error
    tensors = stored.get("state_dict", stored) if isinstance(stored, dict) else None
    if not isinstance(tensors, dict) or not all(isinstance(value, Tensor) for value in tensors.values()):
        raise ModelError(f"{file}: holds no dictionary of tensors")
    return {name.removeprefix("module."): value for name, value in tensors.items()}


def _load_exactly(module: nn.Module, tensors: Mapping[str, Tensor], file: Path) -> None:
    own = module.state_dict()
    mismatched = [
        f"{name} {tuple(tensors[name].shape)} instead of {tuple(value.shape)}"
        for name, value in own.items()
        if name in tensors and tensors[name].shape != value.shape
    ]
    _refuse(file, own.keys() - tensors.keys(), tensors.keys() - own.keys(), mismatched)
    module.load_state_dict({name: value.float() for name, value in tensors.items()})


def _refuse(file: Path, missing: Iterable[str], unexpected: Iterable[str], mismatched: Iterable[str]) -> None:
    """Raise ModelError that names the keys, if there are any."""
    problems = []
    for kind, names in (("missing", missing), ("unexpected", unexpected), ("of another shape", mismatched)):
        listed = sorted(names)
        if listed:
            more = f" and {len(listed) - _NAMED_KEYS} more" if len(listed) > _NAMED_KEYS else ""
            problems.append(f"{kind}: {', '.join(listed[:_NAMED_KEYS])}{more}")
    if problems:
        raise ModelError(f"{file}: not the weights of this backbone; {'; '.join(problems)}")


def _check_config(branch: DinoClassToken | SiglipPooled, path: Path) -> None:
    """Raise ModelError where a published config.json describes another network; SigLIP's is a part of it."""
    stored = _read_config(path)
    stored = stored.get("vision_config", stored)
    own = branch.backbone.config.to_dict()
    # A published file leaves out what equals the defaults of its class.
    defaults = type(branch.backbone.config)().to_dict()
    published = {name: stored.get(name, defaults.get(name)) for name in _SHAPES[type(branch)]}
    differing = [
        f"{name} {published[name]} instead of {own[name]}" for name in published if published[name] != own[name]
    ]
    if differing:
        raise ModelError(f"{path}: another backbone than the configuration's: {', '.join(differing)}")


def _check_clip_config(tower: nn.Module, path: Path) -> None:
    """Raise ModelError where the weights were trained with the other GELU: their shapes do not tell."""
    if not path.is_file():
        return
    quick = bool(_read_config(path).get("model_cfg", {}).get("quick_gelu", False))
    own: Literal["quick_gelu", "gelu"] = "gelu"
    if any(type(module).__name__ == "QuickGELU" for module in tower.modules()):
        own = "quick_gelu"
    if quick != (own == "quick_gelu"):
        raise ModelError(f"{path}: trained with quick_gelu = {quick}, but the configuration says {own}")


def _read_config(path: Path) -> dict[str, Any]:
    try:
        stored = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read: {error}") from error
    if not isinstance(stored, dict):
        raise InputError(f"{path}: not a JSON object")
    return stored
