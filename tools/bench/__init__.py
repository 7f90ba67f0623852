"""Benchmarks: torchinit against ``torch.nn.init``, side by side in one run."""
