"""Everything to know of torchinit on a GPU, by one command: checks, times and goals, as JSON and as a table."""
