"""What a user does with a repository: a file a verb, each a function of a session."""
