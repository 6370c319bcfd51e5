"""Configuration of a model and its training: frozen dataclasses, one a section of a TOML file."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Literal

from vidtag_cli.errors import UsageError


@dataclass(frozen=True, slots=True)
class ClipConfig:
    """open_clip's image tower: an integer of layers is a ViT, four integers a ModifiedResNet.

    ``conv_channels`` builds a plain convolutional tower instead, one stage an entry: for training from scratch on a
    CPU. ``weights`` names published ones: a file, a folder or ``hub:NAME``.
    """

    embed_dim: int
    width: int = 0
    layers: int | tuple[int, ...] = 0
    conv_channels: tuple[int, ...] = ()
    patch_size: int = 14
    head_width: int = 64
    quick_gelu: bool = True
    weights: str = ""


@dataclass(frozen=True, slots=True)
class DinoConfig:
    """transformers' DINOv2 with registers. ``image_size`` is that of the stored position embeddings."""

    embed_dim: int
    patch_size: int
    layers: int
    heads: int
    register_tokens: int = 4
    image_size: int = 518
    weights: str = ""


@dataclass(frozen=True, slots=True)
class SiglipConfig:
    """transformers' SigLIP image tower, its pooled output; ``image_size`` must be that of the frames."""

    embed_dim: int
    patch_size: int
    layers: int
    heads: int
    intermediate: int
    image_size: int = 224
    weights: str = ""


@dataclass(frozen=True, slots=True)
class LocationConfig:
    """The location encoder: kind of projection, deviations of the Fourier branches, and the weights it starts from.

    ``start = "geoclip"`` needs ``equal_earth`` at GeoCLIP's widths (docs/method.md 2.5).
    """

    kind: Literal["equal_earth", "sphere"]
    sigmas: tuple[float, ...]
    frequencies: int = 256
    hidden: int = 1024
    start: Literal["random", "geoclip"] = "random"


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """Widths of every part; ``feature_dim`` is the sum of both backbones' widths.

    ``siglip``, where given, stands in the place of DINOv2: the paper's Table 6. ``upright`` turns every frame by its
    own colours first: for cameras that look straight down.
    """

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
    siglip: SiglipConfig | None = None
    upright: bool = False

    @property
    def feature_dim(self) -> int:
        second = self.dino.embed_dim if self.siglip is None else self.siglip.embed_dim
        return self.clip.embed_dim + second


@dataclass(frozen=True, slots=True)
class PhaseConfig:
    """One run of the loop: Adam, linear warm-up, then StepLR per epoch (docs/method.md 2.9).

    Its length is given in ``epochs`` over the data, every clip once in each, or in ``steps`` of ``steps_per_epoch``
    with batches drawn freely. ``micro_clips`` is how many clips pass through the networks at once: a smaller number
    needs less memory and gives the same similarity matrix; 0 takes the whole batch. ``precision`` auto is bfloat16 on
    CUDA and float32 elsewhere. ``ema_decay`` above 0 keeps a moving average of the weights, which is the result.
    """

    batch_clips: int
    learning_rate: float
    decay_per_epoch: float
    warmup_steps: int
    steps: int = 0
    steps_per_epoch: int = 0
    epochs: int = 0
    queue_points: int = 0
    symmetric: bool = False
    alpha: float = 10.0
    beta: float = 1.0
    micro_clips: int = 0
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    ema_decay: float = 0.0
    save_every: int = 200

    def over(self, clips: int) -> PhaseConfig:
        """Return the phase with its steps counted for a number of clips; raises UsageError when they fill no batch
        or when its length is given in neither way or both.
        """
        if clips < self.batch_clips:
            raise UsageError(
                f"{clips} clips do not fill a batch of {self.batch_clips}: give more data or set batch_clips"
            )
        if bool(self.epochs) == bool(self.steps):
            raise UsageError("a phase has either epochs or steps")
        if not self.epochs:
            return self
        per_epoch = clips // self.batch_clips
        return dataclasses.replace(self, steps=per_epoch * self.epochs, steps_per_epoch=per_epoch)


@dataclass(frozen=True, slots=True)
class NoiseConfig:
    """Noise on true positions for Phase II, in degrees (docs/method.md 2.9).

    Beyond the paper, ``outlier_share`` is the range of the share of a clip's frames that are somewhere else, and
    ``own_share`` the share of clips whose positions are those that Phase I finds for them.
    """

    collapse_share: float = 0.1
    jitter_deg: tuple[float, float] = (0.001, 0.02)
    shift_deg: tuple[float, float] = (-0.2, 0.2)
    outlier_share: tuple[float, float] = (0.0, 0.0)
    own_share: float = 0.0


@dataclass(frozen=True, slots=True)
class BackboneTrainingConfig:
    """Pre-training of small backbones on pairs of views; the full model's stay frozen and have no such section.

    A step draws ``groups`` places and ``neighbours`` around each, and two views of every place. ``dino_share`` is the
    share of the first views that the slower DINOv2 branch learns from; ``target_km`` is the deviation of the target.
    The learning rate falls to nearly zero at ``steps``, and from its full height again in ``more_steps``: so that a
    finished run can be carried on.
    """

    steps: int
    groups: int
    neighbours: int
    learning_rate: float
    warmup_steps: int
    target_km: float
    dino_share: float = 1.0
    more_steps: int = 0


@dataclass(frozen=True, slots=True)
class LocationTrainingConfig:
    """The start of a location encoder that has no published weights: fitted to the backbones' view of each place."""

    steps: int
    batch_places: int
    learning_rate: float
    target_km: float


@dataclass(frozen=True, slots=True)
class FlightConfig:
    """The synthetic camera: ranges are drawn per flight.

    ``island_share`` of the training flights start on small islands. ``texture_width_px`` is the imagery's width, about
    as fine as the camera's pixels.
    """

    footprint_km: tuple[float, float]
    step_km: tuple[float, float]
    turn_deg_per_frame: float
    latitude_deg: tuple[float, float]
    coast_km: float
    texture_width_px: int
    island_share: float = 0.0
    frames: int = 16


@dataclass(frozen=True, slots=True)
class CacheConfig:
    """How many flights each set of cached features holds."""

    train_clips: int
    calibration_clips: int
    test_clips: int


@dataclass(frozen=True, slots=True)
class ClipsConfig:
    """Which frames of real data are encoded and how many of them make a clip.

    ``frames_per_s`` is of videos; photographs are all taken. Sequences longer than ``max_frames`` are thinned evenly.
    """

    frames: int = 16
    frames_per_s: float = 1.0
    max_frames: int = 1024


@dataclass(frozen=True, slots=True)
class GalleryConfig:
    """The even grid over the regions of training (the paper's appendix D.1)."""

    spacing_km: float = 0.5
    padding_km: float = 1.0


@dataclass(frozen=True, slots=True)
class MixConfig:
    """What one data set contributes to unified training (the paper's appendix H), rules applied from top to bottom.

    ``apart_from`` leaves out clips within ``apart_km`` of a clip of the data sets named, ``clips_per_stratum`` caps
    each stratum (a city), and ``sized_like`` draws as many clips as the data sets named have on average. 0 and an empty
    list are no rule.
    """

    data: str
    apart_from: tuple[str, ...] = ()
    apart_km: float = 0.0
    clips_per_stratum: int = 0
    sized_like: tuple[str, ...] = ()


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
    locations: LocationTrainingConfig | None = None
    flights: FlightConfig | None = None
    cache: CacheConfig | None = None
    clips: ClipsConfig = ClipsConfig()
    mix: tuple[MixConfig, ...] = ()
    gallery: GalleryConfig = GalleryConfig()

    def flight_recipe(self) -> FlightConfig:
        """Return the flights; raises UsageError for a preset that has none because it trains on real video."""
        if self.flights is None:
            raise UsageError(f"preset {self.name} has no [flights]: only flyover presets train on synthetic flights")
        return self.flights
