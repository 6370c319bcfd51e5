"""The commands of ``python -m training`` that train from data on disk; ``__main__`` registers them."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    import torch

    from training.config import TrainingConfig
    from training.features.encode import Encoding
    from training.features.held_out import SplitSamples


DataOption = Annotated[list[str], typer.Option("--data", help="NAME=PATH of a data set; several for unified training.")]


def train(
    data: DataOption,
    cache: Annotated[Path, typer.Option(help="Folder of backbone features, one sub-folder a data set; reused.")],
    out: Annotated[Path, typer.Option(help="Folder of the run; a run found there is continued.")],
    preset: Annotated[str, typer.Option(help="Preset name or TOML file.")] = "paper",
    clip: Annotated[str, typer.Option(help="CLIP weights: file, folder or hub:NAME; default: the preset's.")] = "",
    second: Annotated[str, typer.Option(help="DINOv2 (or SigLIP) weights, likewise.")] = "",
    allow_download: Annotated[bool, typer.Option("--allow-download", help="Fetch hub:NAME if not cached.")] = False,
    device: Annotated[str, typer.Option(help="Torch device: cpu, cuda.")] = "cpu",
    batch_frames: Annotated[int, typer.Option(min=1, help="Frames that the backbones encode at once.")] = 64,
    readers: Annotated[int, typer.Option(min=1, help="Threads that decode frames.")] = 4,
    tensorboard: Annotated[bool, typer.Option("--tensorboard", help="Write curves for TensorBoard too.")] = False,
) -> None:
    """Train a model: features of the data sets, then Phases I and II. Under torchrun, on all its ranks."""
    from training.config_files import load_config
    from training.data.frames import read_frames
    from training.phases.distributed import join_ranks, leave_ranks, local_device
    from training.phases.execution import Execution
    from training.phases.progress_log import require_tensorboard
    from training.run.train import BackboneSources, train_model

    if tensorboard:
        require_tensorboard()
    config = load_config(preset)
    torch_device = local_device(device)
    ranks = join_ranks(torch_device)
    sets = open_data(data, config, out / "data" if ranks.is_first else None)
    if not ranks.is_first:
        logging.getLogger("training").setLevel(logging.WARNING)
    try:
        train_model(
            config, sets, cache, out, sources=BackboneSources(clip, second, allow_download=allow_download),
            encoding=_encoding(config, torch_device, batch_frames, readers), read=read_frames,
            execution=Execution(torch_device, ranks, tensorboard),
        )  # fmt: skip
    finally:
        leave_ranks()


def predict(
    run: Annotated[Path, typer.Option(help="Folder of a finished run of 'train'.")],
    data: Annotated[
        list[str], typer.Option("--data", help="NAME=PATH of a data set, or NAME alone if its features are cached.")
    ],
    cache: Annotated[Path, typer.Option(help="Folder of backbone features, one sub-folder a data set; reused.")],
    out: Annotated[Path, typer.Option(help="Folder for NAME.npz, the predictions that 'evaluate' reads.")],
    gallery: Annotated[
        str, typer.Option(help="run, validation (the answers themselves; needs --allow-leak), or places as .npy.")
    ] = "run",
    frames: Annotated[int, typer.Option(min=0, help="Frames of each sequence, evenly spread; 0: all.")] = 0,
    refine: Annotated[bool, typer.Option("--refine/--phase-one", help="With or without GeoRefiner.")] = True,
    allow_leak: Annotated[bool, typer.Option("--allow-leak", help="Mark, not refuse, a gallery with queries.")] = False,
    clip: Annotated[str, typer.Option(help="CLIP weights for what is not cached, as for 'train'.")] = "",
    second: Annotated[str, typer.Option(help="DINOv2 (or SigLIP) weights, likewise.")] = "",
    allow_download: Annotated[bool, typer.Option("--allow-download", help="Fetch hub:NAME if not cached.")] = False,
    device: Annotated[str, typer.Option(help="Torch device: cpu, cuda.")] = "cpu",
    batch_frames: Annotated[int, typer.Option(min=1, help="Frames that the backbones encode at once.")] = 64,
    readers: Annotated[int, typer.Option(min=1, help="Threads that decode frames.")] = 4,
) -> None:
    """Locate the held-out sequences of data sets with a trained model; of data it never saw, all sequences."""
    from training.data.frames import read_frames
    from training.features.store import open_cache
    from training.phases.distributed import local_device
    from training.phases.execution import Execution
    from training.run.folder import open_heads
    from training.run.predict import PredictOptions, predict_sets
    from training.run.train import BackboneSources, cache_sets, published_encoder

    config, torch_device = open_heads(run).config, local_device(device)
    fresh = [entry for entry in data if "=" in entry]
    caches = {name: open_cache(cache / name) for name in data if "=" not in name}
    if fresh:
        encoder = published_encoder(config, BackboneSources(clip, second, allow_download=allow_download), {})
        encoding = _encoding(config, torch_device, batch_frames, readers)
        sets = open_data(fresh, config, out / "data")
        caches |= cache_sets(encoder, sets, cache, encoding, config, read_frames, Execution(torch_device))
    options = PredictOptions(frames, refine, gallery, allow_leak)
    for path in predict_sets(run, caches, out, options, torch_device):
        typer.echo(path)


def classify(
    run: Annotated[Path, typer.Option(help="Folder of a finished run of 'train': its features and its split.")],
    data: Annotated[list[str], typer.Option("--data", help="NAME of a data set whose features are cached.")],
    cache: Annotated[Path, typer.Option(help="Folder of backbone features, one sub-folder a data set.")],
    out: Annotated[Path, typer.Option(help="Folder for NAME.npz and the classifier; continued if there.")],
    baseline: Annotated[
        str, typer.Option(help="planet, isns, geodecoder, clip_classification, dino_classification.")
    ] = "planet",
    steps: Annotated[int, typer.Option(min=0, help="Steps of training; 0: the baseline's own.")] = 0,
    device: Annotated[str, typer.Option(help="Torch device: cpu, cuda.")] = "cpu",
) -> None:
    """Train a classification baseline on a run's features; locate the held-out sequences with it."""
    from training.features.store import open_cache
    from training.phases.distributed import local_device
    from training.run.classify import classify_sets, load_baseline

    recipe = load_baseline(baseline, steps)
    caches = {name: open_cache(cache / name) for name in data}
    for path in classify_sets(run, recipe, caches, out, local_device(device)):
        typer.echo(path)


def benchmark(
    preset: Annotated[str, typer.Option(help="Preset name or TOML file.")] = "paper",
    device: Annotated[str, typer.Option(help="Torch device: cpu, cuda.")] = "cpu",
    steps: Annotated[int, typer.Option(min=1, help="Steps of each phase; the first of several warms up.")] = 1,
) -> None:
    """Time steps of Phases I and II at the size of a preset and count the model's multiplications."""
    from training.config_files import load_config
    from training.model.compute import compute_report
    from training.phases.distributed import local_device
    from training.run.benchmark import time_phases, timing_report

    config, torch_device = load_config(preset), local_device(device)
    typer.echo(compute_report(config.model, config.clips.frames))
    typer.echo(timing_report(time_phases(config, torch_device, steps), config))


def open_data(entries: Sequence[str], config: TrainingConfig, reports: Path | None) -> dict[str, SplitSamples]:
    """Return the data sets of ``NAME=PATH`` entries by name, split as the data set or a stable hash says.

    What each scan found, kept and dropped is written into ``reports`` if given. A name that is no kind of data set is a
    label, and the layout tells the kind.
    """
    from training.checkpoint import write_json
    from training.data.kinds import KINDS, open_data_set
    from training.data.splits import split_samples
    from training.features.held_out import SplitSamples

    opened = {}
    for name, path in parse_data(entries).items():
        kind = name if name in KINDS else None
        clips = config.clips
        scan = open_data_set(path, kind, frames_per_s=clips.frames_per_s, min_frames=clips.frames).scan()
        written = None if reports is None else reports / f"{name}.json"
        if written is not None:
            write_json(written, scan.report.as_json())
        split = split_samples(scan.samples)
        keys = frozenset(sample.key for sample in split.train)
        opened[name] = SplitSamples(scan.samples, keys, scan.report, written)
    return opened


def parse_data(entries: Sequence[str]) -> dict[str, Path]:
    """Return the folders of ``NAME=PATH`` entries; raises UsageError for another form or a repeated name."""
    from vidtag_cli.errors import UsageError

    folders: dict[str, Path] = {}
    for entry in entries:
        name, _, path = entry.partition("=")
        if not path or not name.isidentifier() or name in folders:
            raise UsageError(f"--data {entry}: NAME=PATH is wanted, NAME a word, each once")
        folders[name] = Path(path)
    return folders


def _encoding(config: TrainingConfig, device: torch.device, batch_frames: int, readers: int) -> Encoding:
    """Return how frames are encoded: in half precision on a card, which is what the cache stores anyway."""
    from training.features.encode import EncoderPrecision, Encoding

    precision: EncoderPrecision = "float16" if device.type == "cuda" else "float32"
    return Encoding(config.model.frame_size_px, device, precision, batch_frames, readers)
