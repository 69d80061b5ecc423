"""Driving a run: what to do next, doing it, and writing it down."""
