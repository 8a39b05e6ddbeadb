"""What only an account of AWS can show: its answers to what the product relies on, kept for the contract check."""
