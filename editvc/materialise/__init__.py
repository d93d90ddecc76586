"""From trees to tensors: the place where stored objects and the algebra of edits meet."""
