"""Facts from files: editvc's own schema, and those of datasets and other tools."""
