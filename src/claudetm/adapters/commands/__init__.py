"""Other people's commands: checks, set-up, criteria."""
