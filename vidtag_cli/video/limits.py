"""What one video may cost: limits that hold before anything is allocated, each with the option that moves it."""

from __future__ import annotations

from dataclasses import dataclass

MAX_PIXELS = 8192 * 8192
"""Beyond every camera of today: 8K has 33 million. A decoder holds up to 17 pictures, of 1.5 to 8 bytes a pixel."""

MAX_FRAME_RATE_FPS = 2000.0
"""Beyond what cameras write at its true pace. A hundred thousand frames a second are a way to keep a machine busy."""

STALL_TIMEOUT_S = 60.0

_BYTES_PER_PIXEL = 64
_BYTES_BESIDE_PIXELS = 2 << 30  # the program, its threads and buffers: address space, not memory in use


@dataclass(frozen=True, slots=True)
class DecodeLimits:
    """``max_pixels`` of a stored picture, ``max_frame_rate_fps`` on average, and ``stall_timeout_s``, the seconds after
    which an ffmpeg that gives nothing is ended.
    """

    max_pixels: int = MAX_PIXELS
    max_frame_rate_fps: float = MAX_FRAME_RATE_FPS
    stall_timeout_s: float = STALL_TIMEOUT_S

    @property
    def decoder_pixels(self) -> int:
        """The limit for a decoder, which counts what it adds at the edges, too."""
        return self.max_pixels * 9 // 8 + (1 << 16)

    @property
    def memory_bytes(self) -> int:
        """How much address space a decoder on the CPU may take: what its largest pictures need."""
        return self.max_pixels * _BYTES_PER_PIXEL + _BYTES_BESIDE_PIXELS


DEFAULT_LIMITS = DecodeLimits()
