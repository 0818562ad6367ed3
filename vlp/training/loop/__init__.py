"""The loop around the step: rows of metrics, trackers, stops."""
