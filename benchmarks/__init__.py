"""What Riptide costs, measured beside its peers: run ``python -m benchmarks``."""
