"""What follows the fleet from outside: the monitor, its ledger, and a live view of both. Runs on the controller."""
