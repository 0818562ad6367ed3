"""Jobs that make data from data, offline."""
