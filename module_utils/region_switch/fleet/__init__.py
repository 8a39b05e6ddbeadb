"""Which clients are connected where: the sources they are found by, and the roster of a run."""
