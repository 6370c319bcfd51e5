"""Footage unlike that of training: flights changed on purpose, the gate fitted on them, what is answered then."""
