"""Many models judged on many sets: suites, sets in the field's layouts, tasks, one table."""
