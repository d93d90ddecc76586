"""Files of other tools, each read beside where it is written."""
