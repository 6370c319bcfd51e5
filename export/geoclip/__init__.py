"""A bundle from public weights: CLIP's image tower with GeoCLIP's head, location encoder and gallery."""
