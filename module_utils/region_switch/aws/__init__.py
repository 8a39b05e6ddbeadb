"""How AWS is asked: clients, credentials, quotas, the pace of requests, and what its answers are held against."""
