"""How many threads decode pictures where nobody says how many."""

import os

# More would hold more batches in memory than most machines want to spare.
THREADS = min(8, os.cpu_count() or 1)
