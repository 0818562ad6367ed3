"""One file a run. Each offers `get_config(arg)`; its docstring says paper, cost, score and command."""
