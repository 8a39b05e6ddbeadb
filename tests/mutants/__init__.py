"""`make mutants`: faults put into the modules that decide, one at a time, and whether their unit tests notice.

Cosmic Ray makes the mutants; each runs in a copy of the tree, against the module's own unit tests only. What survives
is compared with `survivors.toml`.
"""
