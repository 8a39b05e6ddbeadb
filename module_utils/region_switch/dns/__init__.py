"""The endpoints' records, and the servers that answer them."""
