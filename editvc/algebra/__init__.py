"""The algebra of edits: tensors in, tensors out. It knows no model and no store."""
