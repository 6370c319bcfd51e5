"""Frames turned the same way up: what a small network cannot afford to learn for every heading of a camera."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class Upright(nn.Module):
    """Frames (N, 3, S, S) float32 in [0, 255] turned so that their warm side is on the right, black outside the disc.

    A camera that looks straight down sees a place under any heading. The first moment of red minus blue over the
    inscribed disc turns with the ground (land against sea, desert against forest), and light, haze and grey clouds
    hardly move it: so turning the frame by its direction undoes most headings before a network has to learn them.
    """

    weights: Tensor
    disc: Tensor
    grid: Tensor

    def __init__(self, size_px: int) -> None:
        super().__init__()
        # Whole numbers: with pixels of one byte the sums of the moment are exact, so engines agree about the direction.
        offset = 2.0 * torch.arange(size_px) + 1.0 - size_px
        down, right = torch.meshgrid(offset, offset, indexing="ij")
        disc = (down**2 + right**2 < size_px**2).float()
        self.register_buffer("weights", torch.stack([right, down]) * disc, persistent=False)  # (2, S, S)
        self.register_buffer("disc", disc, persistent=False)
        self.register_buffer("grid", torch.stack([right, down], dim=-1) / size_px, persistent=False)  # (S, S, 2)

    def forward(self, images: Tensor) -> Tensor:
        warm = images[:, 0] - images[:, 2]
        moment = (warm[:, None] * self.weights).sum((2, 3))  # (N, 2): right, down
        cosine, sine = (moment / moment.norm(dim=1, keepdim=True).clamp(min=1.0))[..., None, None].unbind(1)
        right, down = self.grid.unbind(-1)  # (S, S)
        turned = torch.stack([cosine * right - sine * down, sine * right + cosine * down], dim=-1)  # (N, S, S, 2)
        return functional.grid_sample(images, turned, mode="bilinear", align_corners=False) * self.disc
