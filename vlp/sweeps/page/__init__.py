"""The page of a sweep, for people who would rather look than read; see `write.write_page`."""
