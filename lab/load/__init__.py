"""The lab's load: many light MQTT clients in one process, for moves at scale."""
