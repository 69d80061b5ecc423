"""The pure core: what may happen to a run, what follows from it, and what to do next. No I/O, no clock."""
