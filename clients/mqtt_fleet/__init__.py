"""MQTT clients that survive a move of their endpoint's name from one region to another, and the fleet's monitor."""
