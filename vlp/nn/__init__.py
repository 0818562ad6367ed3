"""Building blocks of the towers."""
