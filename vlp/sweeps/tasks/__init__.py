"""What can be asked of a model on a set: a file a task, from a view to scores."""
