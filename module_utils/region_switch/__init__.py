"""Moving an MQTT fleet between AWS IoT Core regions: the engine of the modules in `library/`.

PRIVATE to this repository: only the modules here use it, and it changes with them.
"""
