"""Tensors in, tensors out: what edits are, how they are solved, and what they do to a layer.

No model and no store is known here. One orientation holds throughout, that of the papers: with u
the hidden size and v the inner size of an MLP, a down projection is (u, v), and so is a change of
it, as factors left (u, r) and right (r, v). Edits are columns: keys (v, n), residuals (u, n).
Hidden states are rows, (tokens, v), and so are the keys of a codebook, which is compared with them.
"""
