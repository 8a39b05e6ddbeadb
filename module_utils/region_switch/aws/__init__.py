"""Calls of AWS: clients, credentials, quotas, the pace of requests, and the validation of responses."""
