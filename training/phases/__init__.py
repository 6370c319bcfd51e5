"""The phases of training, in order: locations, backbones (flyover only), feature cache, Phase I, Phase II."""
