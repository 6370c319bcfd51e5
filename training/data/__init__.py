"""Data sets on disk: one loader a layout, all of them giving the same ``Sample``."""
