"""CLIP's image tower for a GeoCLIP bundle: from a folder, from the Hugging Face hub, or random at true size."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from training.checkpoint import load_weights
from training.model.backbones import build_clip_visual
from training.model.dual_encoder import CLIP_MEAN, CLIP_STD
from vidtag_cli.bundle.integrity import sha256_of
from vidtag_cli.errors import InputError

HUB_PREFIX, RANDOM_PREFIX = "hub:", "random:"
CONFIG_FILE, WEIGHTS_FILE, PROCESSOR_FILE = "config.json", "model.safetensors", "preprocessor_config.json"

EMBED_DIM = 768
"""What GeoCLIP's head takes: the projected image embedding of CLIP ViT-L/14."""

VIT_L14 = {"image_size": 224, "patch_size": 14, "width": 1024, "layers": 24}
"""The shape of CLIP ViT-L/14, by the names of ``build_clip_visual``."""

_BLOCK_PARTS = {
    "layer_norm1": "ln_1", "layer_norm2": "ln_2", "self_attn.out_proj": "attn.out_proj", "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
}  # fmt: skip
"""Parts of a transformer block: transformers' name to open_clip's."""


@dataclass(frozen=True, slots=True)
class ClipTower:
    """The image tower (N, 3, S, S) float32 to (N, 768), the side S in pixels, and where its weights come from.

    ``caveat`` is what must be said of the model before anything else, and empty for published weights.
    """

    visual: nn.Module
    image_size_px: int
    origin: str
    caveat: str = ""


def read_clip_tower(source: str) -> ClipTower:
    """Return the tower of ``PATH``, ``hub:OWNER/NAME`` or ``random:SEED``.

    A path is a folder as transformers writes CLIPModel, with ``config.json`` and ``model.safetensors``. A hub name is
    first looked for in the hub's own cache, without a connection. Raises InputError when there is no such model or
    GeoCLIP's head does not fit it.
    """
    if source.startswith(RANDOM_PREFIX):
        return _random_tower(source.removeprefix(RANDOM_PREFIX))
    if source.startswith(HUB_PREFIX):
        name = source.removeprefix(HUB_PREFIX)
        folder = _hub_folder(name)
        return _tower_of_folder(folder, f"{name} at revision {folder.name}")
    return _tower_of_folder(Path(source), Path(source).name)


def _random_tower(seed: str) -> ClipTower:
    if not seed.isdecimal():
        raise InputError(f"{RANDOM_PREFIX}{seed}: the seed is a whole number, as in {RANDOM_PREFIX}1")
    torch.manual_seed(int(seed))
    visual = build_clip_visual(embed_dim=EMBED_DIM, **VIT_L14)  # type: ignore[arg-type]  # all are integers
    origin = f"CLIP ViT-L/14 with random weights, seed {seed}"
    return ClipTower(visual.eval(), VIT_L14["image_size"], origin, "Random weights, for sizing: it locates nothing. ")


def _hub_folder(name: str) -> Path:
    """Return the folder of a hub model: from the cache, or else downloaded into it."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    files = [CONFIG_FILE, PROCESSOR_FILE, WEIGHTS_FILE]
    try:
        cached = Path(snapshot_download(name, allow_patterns=files, local_files_only=True))
        if (cached / WEIGHTS_FILE).is_file():
            return cached
    except LocalEntryNotFoundError:
        pass  # not there yet
    try:
        return Path(snapshot_download(name, allow_patterns=files))
    except (OSError, ValueError) as error:  # the hub's own errors are one or the other
        raise InputError(
            f"{HUB_PREFIX}{name}: neither in the hub's cache nor to be downloaded ({' '.join(str(error).split())}): "
            f"fetch {CONFIG_FILE}, {PROCESSOR_FILE} and {WEIGHTS_FILE} elsewhere and give their folder instead"
        ) from error


def _tower_of_folder(folder: Path, name: str) -> ClipTower:
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder: give CLIP's folder, {HUB_PREFIX}OWNER/NAME or {RANDOM_PREFIX}SEED")
    config = _read_config(folder)
    _check_normalisation(folder)
    vision = config.vision_config
    if vision.intermediate_size != 4 * vision.hidden_size or vision.hidden_act not in ("quick_gelu", "gelu"):
        raise InputError(f"{folder / CONFIG_FILE}: not a vision transformer as CLIP has one")
    if config.projection_dim != EMBED_DIM:
        raise InputError(
            f"{folder}: embeddings of width {config.projection_dim}, GeoCLIP's head takes {EMBED_DIM}: give "
            "openai/clip-vit-large-patch14"
        )
    visual = build_clip_visual(
        embed_dim=EMBED_DIM, image_size=vision.image_size, patch_size=vision.patch_size, width=vision.hidden_size,
        layers=vision.num_hidden_layers, head_width=vision.hidden_size // vision.num_attention_heads,
        quick_gelu=vision.hidden_act == "quick_gelu",
    )  # fmt: skip
    weights = folder / WEIGHTS_FILE
    if not weights.is_file():
        raise InputError(f"{folder}: no {WEIGHTS_FILE} in it; other forms of weights are not read")
    try:
        visual.load_state_dict(tower_state(load_weights(weights)))
    except (KeyError, RuntimeError) as error:
        raise InputError(f"{weights}: not the weights of the configuration beside it: {error}") from error
    origin = f"CLIP image tower of {name}, {WEIGHTS_FILE} with SHA-256 {sha256_of(weights)}"
    return ClipTower(visual.eval(), vision.image_size, origin)


def _read_config(folder: Path) -> Any:
    from transformers import CLIPConfig

    fields = _read_json(folder / CONFIG_FILE)
    if fields.get("model_type") != "clip":
        raise InputError(f"{folder / CONFIG_FILE}: a model of type {fields.get('model_type')!r}, wanted is 'clip'")
    return CLIPConfig.from_dict(fields)


def _check_normalisation(folder: Path) -> None:
    """Refuse a model that was trained on pixels normalised otherwise: CLIP's normalisation is part of the graph."""
    file = folder / PROCESSOR_FILE
    fields = _read_json(file) if file.is_file() else {}
    for key, expected in (("image_mean", CLIP_MEAN), ("image_std", CLIP_STD)):
        if tuple(fields.get(key, expected)) != expected:
            raise InputError(f"{file}: {key} is {fields[key]}, CLIP's is {list(expected)}")


def _read_json(file: Path) -> dict[str, Any]:
    try:
        return json.loads(file.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{file}: not the description of a CLIP model: {error}") from error


def tower_state(published: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the image tower's weights of a transformers CLIPModel under the names of open_clip's tower.

    Raises KeyError for a tensor that is missing.
    """
    embeddings = "vision_model.embeddings"
    state = {
        "class_embedding": published[f"{embeddings}.class_embedding"],
        "positional_embedding": published[f"{embeddings}.position_embedding.weight"],
        "conv1.weight": published[f"{embeddings}.patch_embedding.weight"],
        "proj": published["visual_projection.weight"].T,
    }
    for kind in ("weight", "bias"):
        state[f"ln_pre.{kind}"] = published[f"vision_model.pre_layrnorm.{kind}"]
        state[f"ln_post.{kind}"] = published[f"vision_model.post_layernorm.{kind}"]
    block, layers = "vision_model.encoder.layers", 0
    while f"{block}.{layers}.layer_norm1.weight" in published:
        theirs, ours = f"{block}.{layers}", f"transformer.resblocks.{layers}"
        for kind in ("weight", "bias"):
            parts = [published[f"{theirs}.self_attn.{part}_proj.{kind}"] for part in "qkv"]
            state[f"{ours}.attn.in_proj_{kind}"] = torch.cat(parts)
            for their_part, our_part in _BLOCK_PARTS.items():
                state[f"{ours}.{our_part}.{kind}"] = published[f"{theirs}.{their_part}.{kind}"]
        layers += 1
    return {name: value.float() for name, value in state.items()}
