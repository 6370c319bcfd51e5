"""Calibration on held-out sequences: posterior scale, radii, paths, limits beyond which the program abstains."""
