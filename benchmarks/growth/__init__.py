"""What the log costs as it grows: run ``python -m benchmarks.growth``."""
