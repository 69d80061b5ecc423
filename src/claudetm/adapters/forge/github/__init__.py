"""GitHub: the forge, and what it stands on."""
