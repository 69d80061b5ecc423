"""One handler a stage."""
