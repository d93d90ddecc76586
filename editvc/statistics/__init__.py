"""What the base model sees on ordinary text and on names: second moments of its keys."""
