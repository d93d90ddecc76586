"""Every editing method, declared: what it is called, its numbers, and what carries it out."""
