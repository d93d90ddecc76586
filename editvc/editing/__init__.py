"""The methods at work: from requests and a model to the elements of the set."""
