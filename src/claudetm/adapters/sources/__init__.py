"""Where the monitor's tasks come from."""
