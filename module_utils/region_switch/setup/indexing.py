"""Fleet indexing, which knows the connected clients."""

from __future__ import annotations

from typing import Any

from ..aws.clients import AwsClient
from ..module import Result, changed, changes

_NAMES = {
    "thing_indexing_mode": "thingIndexingMode",
    "thing_connectivity_indexing_mode": "thingConnectivityIndexingMode",
}


def ensure_indexing(iot: AwsClient, parameters: dict[str, Any], check_mode: bool) -> Result:
    """Set the two modes of thing indexing; the rest of the configuration is unchanged.

    Shadows stay indexed where only the registry is wanted: other programs may search them.
    """
    found = iot.call("GetIndexingConfiguration").get("thingIndexingConfiguration", {})
    before = {option: found.get(name, "OFF") for option, name in _NAMES.items()}
    wanted = {option: parameters[option] for option in _NAMES}
    if wanted["thing_indexing_mode"] == "REGISTRY" and before["thing_indexing_mode"] == "REGISTRY_AND_SHADOW":
        wanted["thing_indexing_mode"] = None
    difference = changes(before, wanted)
    after = {**before, **difference}
    if difference and not check_mode:
        # The request replaces the whole configuration of things.
        kept = {key: value for key, value in found.items() if key != "managedFields"}
        request = {**kept, **{_NAMES[option]: value for option, value in after.items()}}
        iot.call("UpdateIndexingConfiguration", thingIndexingConfiguration=request)
    return changed(before, after, **after)
