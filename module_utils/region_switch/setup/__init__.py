"""What set-up makes in every region: things, certificates, policies, domain configurations, records."""
