"""Forges: what hosts pull requests."""
