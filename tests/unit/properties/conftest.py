"""Properties are searched with the same seeds in every run, so that a test fails for a change and not by chance.

To search anew, longer and with other seeds: `HYPOTHESIS_PROFILE=search pytest tests/unit/properties`. What such a
search finds is kept as an `@example` of its test.
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

# Time limits of single examples would make a slow machine a failure.
settings.register_profile("stable", derandomize=True, deadline=None, max_examples=100, database=None)
settings.register_profile(
    "search", deadline=None, max_examples=5000, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "stable"))
