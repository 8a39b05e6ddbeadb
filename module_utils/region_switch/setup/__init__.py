"""Set-up of a region: things, certificates, policies, domain configurations, records."""
