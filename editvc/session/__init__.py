"""What the verbs share: an open repository with its model, and the steps that several take."""
