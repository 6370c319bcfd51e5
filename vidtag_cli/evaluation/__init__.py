"""Judging a track: files of true positions, the paper's metrics on a sphere without seams, confidence intervals."""
