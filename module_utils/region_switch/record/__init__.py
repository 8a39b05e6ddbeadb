"""What a run writes down and reads again: the folder of reports, journals, summaries, the monitor's ledger."""
