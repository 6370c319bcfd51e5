"""Configuration of a model and its training: frozen dataclasses read from TOML, unknown keys refused."""

from __future__ import annotations

import dataclasses
import json
import tomllib
import types
import typing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

PRESET_FOLDER = Path(__file__).parent / "presets"


@dataclass(frozen=True, slots=True)
class ClipConfig:
    """open_clip's image tower: an integer of layers is a ViT, four integers a ModifiedResNet."""

    embed_dim: int
    width: int
    layers: int | tuple[int, ...]
    patch_size: int = 14
    head_width: int = 64
    quick_gelu: bool = True


@dataclass(frozen=True, slots=True)
class DinoConfig:
    """transformers' DINOv2 with registers. ``image_size`` is that of the stored position embeddings."""

    embed_dim: int
    patch_size: int
    layers: int
    heads: int
    register_tokens: int = 4
    image_size: int = 518


@dataclass(frozen=True, slots=True)
class LocationConfig:
    """The location encoder: kind of projection and deviations of the Fourier branches."""

    kind: Literal["equal_earth", "sphere"]
    sigmas: tuple[float, ...]
    frequencies: int = 256
    hidden: int = 1024


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """Widths of every part; ``feature_dim`` is the sum of both backbones' widths."""

    frame_size_px: int
    embed_dim: int
    stem_hidden: int
    mlp_hidden: tuple[int, ...]
    clip: ClipConfig
    dino: DinoConfig
    location: LocationConfig
    heads: int = 8
    dropout: float = 0.1
    tempgeo_layers: int = 2
    refiner_encoder_layers: int = 1
    refiner_decoder_layers: int = 2

    @property
    def feature_dim(self) -> int:
        return self.clip.embed_dim + self.dino.embed_dim


@dataclass(frozen=True, slots=True)
class PhaseConfig:
    """One run of the loop: Adam, linear warm-up, then StepLR per epoch (SPEC 2.9)."""

    steps: int
    batch_clips: int
    learning_rate: float
    decay_per_epoch: float
    steps_per_epoch: int
    warmup_steps: int
    queue_points: int = 0
    alpha: float = 10.0
    beta: float = 1.0


@dataclass(frozen=True, slots=True)
class NoiseConfig:
    """Noise on true positions for Phase II, in degrees (SPEC 2.9); ``scale`` widens it for a coarser model."""

    collapse_share: float = 0.1
    jitter_deg: tuple[float, float] = (0.001, 0.02)
    shift_deg: tuple[float, float] = (-0.2, 0.2)


@dataclass(frozen=True, slots=True)
class BackboneTrainingConfig:
    """Pre-training of small backbones on single frames; the full model's stay frozen and have no such section."""

    steps: int
    batch_frames: int
    learning_rate: float
    warmup_steps: int
    location_steps: int
    random_negatives: int
    neighbours_per_frame: int


@dataclass(frozen=True, slots=True)
class FlightConfig:
    """The synthetic camera: ranges are drawn per flight."""

    footprint_km: tuple[float, float]
    step_km: tuple[float, float]
    turn_deg_per_frame: float
    latitude_deg: tuple[float, float]
    coast_km: float
    frames: int = 16


@dataclass(frozen=True, slots=True)
class CacheConfig:
    """How many flights each set of cached features holds."""

    train_clips: int
    calibration_clips: int
    test_clips: int


@dataclass(frozen=True, slots=True)
class TrainingConfig:
    """A whole preset."""

    name: str
    seed: int
    model: ModelConfig
    phase_one: PhaseConfig
    phase_two: PhaseConfig
    noise: NoiseConfig
    backbones: BackboneTrainingConfig | None = None
    flights: FlightConfig | None = None
    cache: CacheConfig | None = None

    def flight_recipe(self) -> FlightConfig:
        """Return the flights; raises ValueError for a preset that has none because it trains on real video."""
        if self.flights is None:
            raise ValueError(f"preset {self.name} has no [flights]: only flyover presets train on synthetic flights")
        return self.flights


def load_config(name_or_path: str) -> TrainingConfig:
    """Return the configuration of a preset's name or a TOML file; raises ValueError for unknown, missing or ill-typed
    keys.
    """
    path = PRESET_FOLDER / f"{name_or_path}.toml"
    if not path.is_file():
        path = Path(name_or_path)
    if not path.is_file():
        presets = ", ".join(sorted(preset.stem for preset in PRESET_FOLDER.glob("*.toml")))
        raise ValueError(f"{name_or_path}: neither a file nor a preset ({presets})")
    return _build(TrainingConfig, tomllib.loads(path.read_text("utf-8")), path.name)


def config_json(config: TrainingConfig) -> str:
    """Return the resolved configuration as JSON, to be kept beside a checkpoint."""
    return json.dumps(dataclasses.asdict(config), indent=2)


def _build(kind: Any, value: Any, where: str) -> Any:
    """Return ``value`` as ``kind``: a dataclass, a tuple, a union of them or a plain number or word."""
    if dataclasses.is_dataclass(kind):
        return _build_dataclass(kind, value, where)
    origin = typing.get_origin(kind)
    if origin in (types.UnionType, typing.Union):
        options = [option for option in typing.get_args(kind) if option is not type(None)]
        matching = [option for option in options if (typing.get_origin(option) is tuple) == isinstance(value, list)]
        return _build((matching or options)[0], value, where)
    if origin is tuple:
        if not isinstance(value, list):
            raise ValueError(f"{where}: a list is wanted, not {value!r}")
        items = typing.get_args(kind)
        if items[-1] is not Ellipsis and len(value) != len(items):
            raise ValueError(f"{where}: {len(items)} entries are wanted, not {len(value)}")
        item = items[0]
        return tuple(_build(item, entry, f"{where}[{index}]") for index, entry in enumerate(value))
    if origin is Literal:
        if value not in typing.get_args(kind):
            raise ValueError(f"{where}: one of {', '.join(typing.get_args(kind))} is wanted, not {value!r}")
        return value
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise ValueError(f"{where}: {kind.__name__} is wanted, not {value!r}")
    return value


def _build_dataclass(kind: Any, table: Any, where: str) -> Any:
    if not isinstance(table, dict):
        raise ValueError(f"{where}: a table is wanted, not {table!r}")
    fields = {field.name: field for field in dataclasses.fields(kind)}
    unknown = sorted(set(table) - set(fields))
    if unknown:
        raise ValueError(f"{where}: unknown key {', '.join(unknown)}; known are {', '.join(fields)}")
    hints = typing.get_type_hints(kind)
    required = [name for name, field in fields.items() if field.default is dataclasses.MISSING]
    missing = [name for name in required if name not in table]
    if missing:
        raise ValueError(f"{where}: missing key {', '.join(missing)}")
    return kind(**{name: _build(hints[name], value, f"{where}: {name}") for name, value in table.items()})
