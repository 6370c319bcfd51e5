"""Calibration on clips whose places are known: what a model's doubt is worth in kilometres, and how often it holds."""
