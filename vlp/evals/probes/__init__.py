"""What can be learnt on features that stay as they are: pure mathematics, on arrays."""
