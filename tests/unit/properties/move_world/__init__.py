"""An account, its DNS, its devices and its controllers in memory, in which the real engine moves a fleet."""
