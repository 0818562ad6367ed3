"""From a config to the objects of a run, and a run from its start to its report."""
