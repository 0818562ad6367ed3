"""Training: schedules, optimisers, the state and its step, checkpoints, metrics, the one loop."""
