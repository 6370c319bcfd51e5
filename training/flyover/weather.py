"""What lies between the ground and the file: light, haze, clouds, colour cast, a soft lens, compression."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

_NOISE_PX = 512


def cloud_noise(generator: torch.Generator) -> Tensor:
    """Return a tileable fractal noise (1, 1, 512, 512) float32 with mean 0 and deviation 1."""
    noise = torch.zeros(1, 1, _NOISE_PX, _NOISE_PX)
    for octave in range(2, 8):
        cells = 2**octave
        coarse = torch.randn(1, 1, cells, cells, generator=generator)
        padded = functional.pad(coarse, (2, 2, 2, 2), mode="circular")
        size = _NOISE_PX * (cells + 4) // cells
        fine = functional.interpolate(padded, size=(size, size), mode="bicubic", align_corners=False)
        margin = (size - _NOISE_PX) // 2
        noise += fine[..., margin : margin + _NOISE_PX, margin : margin + _NOISE_PX] * 0.6**octave
    return (noise - noise.mean()) / noise.std()


class Weather:
    """One drawing of weather for B flights of T frames; slow things are drawn per flight, jitter per frame."""

    def __init__(self, clips: int, frames: int, generator: torch.Generator, device: torch.device | str = "cpu") -> None:
        self.clips, self.frames, self.generator, self.device = clips, frames, generator, device
        self.clouds = cloud_noise(generator).to(device)

    def _uniform(self, low: float, high: float, *shape: int) -> Tensor:
        drawn = torch.rand(*shape, generator=self.generator) * (high - low) + low
        return drawn.to(self.device)

    def _per_clip(self, low: float, high: float, channels: int = 1) -> Tensor:
        """Return (B*T, channels, 1, 1): one draw a flight, repeated over its frames."""
        return self._uniform(low, high, self.clips, channels, 1, 1).repeat_interleave(self.frames, 0)

    def _per_frame(self, low: float, high: float) -> Tensor:
        return self._uniform(low, high, self.clips * self.frames, 1, 1, 1)

    def apply(self, pictures: Tensor) -> Tensor:
        """Return uint8 pictures (B*T, 3, S, S) of clear-sky float32 ones in [0, 255]."""
        pictures = self._soften(self._cloud(self._light(pictures / 255.0)))
        noise = torch.randn(pictures.shape, generator=self.generator).to(self.device)
        pictures = pictures + noise * self._per_clip(0.0, 0.02)
        return (pictures.clamp(0.0, 1.0) * 255.0).round().to(torch.uint8)

    def _light(self, pictures: Tensor) -> Tensor:
        pictures = pictures.clamp(min=1e-3) ** self._per_clip(0.8, 1.25)
        gain = self._per_clip(0.75, 1.15) * self._per_frame(0.95, 1.05)
        pictures = pictures * gain * self._per_clip(0.93, 1.07, channels=3)
        grey = pictures.mean(1, keepdim=True)
        pictures = grey + (pictures - grey) * self._per_clip(0.6, 1.3)
        haze = self._per_clip(-0.2, 0.35).clamp(min=0.0)
        return pictures * (1.0 - haze) + haze * self._per_clip(0.6, 0.95)

    def _cloud(self, pictures: Tensor) -> Tensor:
        """Blend clouds in: each flight has its own cover, drifting a little from frame to frame."""
        size = pictures.shape[-1]
        count = len(pictures)
        drift = torch.arange(self.frames, device=self.device, dtype=torch.float32).repeat(self.clips).view(-1, 1, 1)
        scale = self._per_clip(0.15, 0.5).view(-1, 1, 1)
        line = torch.linspace(-1.0, 1.0, size, device=self.device)
        u = line[None, None, :] * scale + self._per_clip(-1.0, 1.0).view(-1, 1, 1) + drift * 0.05
        v = line[None, :, None] * scale + self._per_clip(-1.0, 1.0).view(-1, 1, 1) + drift * 0.03
        # The noise tiles, so a position outside [-1, 1] wraps.
        grid = torch.stack(torch.broadcast_tensors((u + 1.0) % 2.0 - 1.0, (v + 1.0) % 2.0 - 1.0), -1)
        noise = functional.grid_sample(self.clouds.expand(count, -1, -1, -1), grid, align_corners=False)
        threshold = self._per_clip(0.6, 3.0)
        cover = ((noise - threshold) / 0.5).clamp(0.0, 1.0) * self._per_clip(0.3, 0.95)
        return pictures * (1.0 - cover) + cover * self._per_clip(0.8, 1.0)

    def _soften(self, pictures: Tensor) -> Tensor:
        """Lose detail as a lens and a codec do: shrink and enlarge, by an amount drawn once for the whole drawing."""
        size = pictures.shape[-1]
        kept = int(size * float(self._uniform(0.7, 1.15, 1)))
        if kept >= size:
            return pictures
        small = functional.interpolate(pictures, size=(kept, kept), mode="bilinear", antialias=True)
        return functional.interpolate(small, size=(size, size), mode="bilinear")
