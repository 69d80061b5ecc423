"""Who works the monitor's tasks."""
