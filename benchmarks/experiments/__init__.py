"""What ``benchmarks/papers.py`` measures, claims and draws."""
