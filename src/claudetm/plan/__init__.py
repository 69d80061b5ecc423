"""The plan of a run: changes, their tasks and the criteria. Pure values, no I/O."""
