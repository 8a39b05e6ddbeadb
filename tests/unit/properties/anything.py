"""What operators write and servers answer: any value of YAML or JSON, and how a refusal has to look."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ansible.module_utils.region_switch.model.errors import SwitchError
from hypothesis import strategies as st

ENDPOINTS = ["mqtt1.example.com", "mqtt2.example.com"]
REGIONS = ["us-east-1", "ap-northeast-1"]
HOSTS = {region: f"a1b2c3-ats.iot.{region}.amazonaws.com" for region in REGIONS}

# Words that mean something somewhere, text with line ends and control characters in it, and half of a character.
WORDS = [*ENDPOINTS, *REGIONS, *HOSTS.values(), "", "1", "a\nb", "a\u2028b", "\x1b[2J", "\ud800", "x" * 500]
TEXT = st.one_of(st.text(max_size=20), st.sampled_from(WORDS))
SCALARS = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), TEXT)
ANYTHING = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT | st.integers(), inner, max_size=3),
    max_leaves=8,
)


def assert_one_line(message: str) -> None:
    assert message
    assert len(message.splitlines()) == 1, message


@contextmanager
def refused_at_most() -> Iterator[None]:
    """Whatever goes wrong inside is said in one line; another exception than SwitchError fails the test."""
    try:
        yield
    except SwitchError as error:
        assert_one_line(str(error))
