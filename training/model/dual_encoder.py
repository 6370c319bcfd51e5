"""The dual frame encoder (docs/method.md 2.2): CLIP and DINOv2 side by side, joined and normalised once."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
SIGLIP_MEAN = SIGLIP_STD = (0.5, 0.5, 0.5)


class DualFrameEncoder(nn.Module):
    """Frame features ``z`` (N, D) float32, L2-normalised, of uint8 RGB frames (N, S, S, 3).

    Both normalisations live here and so inside the exported graph: no caller can get them wrong, and a frame travels to
    the device as one byte a channel. The second branch is DINOv2, or SigLIP with its own normalisation. With
    ``upright`` both branches see the frame turned by it: a camera that looks down has no way up.
    """

    def __init__(
        self, clip: nn.Module, dino: nn.Module, *,
        dino_mean: tuple[float, ...] = IMAGENET_MEAN, dino_std: tuple[float, ...] = IMAGENET_STD,
        upright: Upright | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.clip, self.dino, self.upright = clip, dino, upright
        for name, mean, std in (("clip", CLIP_MEAN, CLIP_STD), ("imagenet", dino_mean, dino_std)):
            # x / 255 - mean, over std, folded into one multiplication and one addition.
            scale = 1.0 / (255.0 * torch.tensor(std)).view(1, 3, 1, 1)
            self.register_buffer(f"{name}_scale", scale, persistent=False)
            self.register_buffer(
                f"{name}_shift", -255.0 * torch.tensor(mean).view(1, 3, 1, 1) * scale, persistent=False
            )

    def images(self, frames_rgb: Tensor) -> Tensor:
        """Return what both branches see, (N, 3, S, S) float32 in [0, 255], before their normalisations."""
        images = frames_rgb.permute(0, 3, 1, 2).float()
        return images if self.upright is None else self.upright(images)

    def clip_branch(self, images: Tensor) -> Tensor:
        """Return the CLIP embedding of :meth:`images`."""
        return self.clip(images * self.clip_scale + self.clip_shift)

    def dino_branch(self, images: Tensor) -> Tensor:
        """Return the DINOv2 class token of :meth:`images`."""
        return self.dino(images * self.imagenet_scale + self.imagenet_shift)

    def branches(self, frames_rgb: Tensor) -> tuple[Tensor, Tensor]:
        """Return the CLIP embedding and the DINOv2 class token of the frames, before they are joined."""
        images = self.images(frames_rgb)
        return self.clip_branch(images), self.dino_branch(images)

    def forward(self, frames_rgb: Tensor) -> Tensor:
        clip, dino = self.branches(frames_rgb)
        return functional.normalize(torch.cat([clip, dino], dim=-1), dim=-1)


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
