"""The page of a run: `report.html`, made of what is in the run's folder."""
