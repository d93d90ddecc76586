"""One Hugging Face model: how it is found, loaded, read, tokenised for, run and replayed."""
