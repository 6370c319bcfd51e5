"""vidtag: where on Earth was each frame of this video taken?"""

__version__ = "0.1.0"
