"""The endpoints' DNS records, and the servers that answer for them."""
