"""Files of positions that others made: one reader for the truth of a video, the points of a gallery and training."""
