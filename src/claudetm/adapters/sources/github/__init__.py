"""The source whose tasks are GitHub issues with a label."""
