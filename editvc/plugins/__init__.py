"""What other programs load of editvc, by entry points."""
