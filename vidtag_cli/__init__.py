"""vidtag: where on Earth was each frame of this video taken?"""

__version__ = "0.1.0"

DISTRIBUTION = "vidtag-geo"
"""What pip calls this program. PyPI's ``vidtag`` is another project's, with a command of the same name."""
