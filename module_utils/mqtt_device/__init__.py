"""The part of the modules that runs on a device: its key, its service, its removal.

PRIVATE to this repository. Needs a device's Python only (3.9 or newer, standard library), openssl and systemd.
"""
