"""claudetm: give it a goal; come back to merged, verified pull requests, with proof."""

__version__ = "0.1.0"
