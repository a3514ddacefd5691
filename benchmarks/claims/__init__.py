"""The measures behind `benchmarks/paper_claims.py`."""
