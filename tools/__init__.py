"""Tools that build, check and show torchinit; torchinit never imports them."""
