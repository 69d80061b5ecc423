"""The composition root: from a repository and a configuration to a driver with its ports wired.

Nothing below knows which adapters there are; nothing above knows how they are made.
"""
