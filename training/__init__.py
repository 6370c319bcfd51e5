"""Training of the VidTAG model: networks, data, losses, phases, evaluation. Run from a checkout: ``python -m
training``.
"""
