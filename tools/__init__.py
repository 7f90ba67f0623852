"""What builds, checks and shows torchinit; never imported by it."""
