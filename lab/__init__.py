"""The rehearsal lab: real brokers, name servers and devices around an AWS API stand-in."""
