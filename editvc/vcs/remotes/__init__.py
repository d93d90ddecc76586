"""Repositories elsewhere: where they are kept, what is there, and how it comes and goes."""
