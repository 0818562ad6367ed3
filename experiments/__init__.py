"""One file a run: `get_config(arg)`, with paper, cost, score and command in the docstring."""
