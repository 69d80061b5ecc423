"""The monitor: what a source offers is queued, claimed, worked, and reported exactly once."""
