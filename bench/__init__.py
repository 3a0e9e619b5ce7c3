"""The benchmark: Milepost, a hand-written baseline and its peers, measured in turn in one run (docs/benchmarks.md)."""
