"""The Hub, and what goes there beside the weights: the card and the lock file."""
