"""The phases of training and the loop they run in: steps, losses, noise, ranks, curves."""
