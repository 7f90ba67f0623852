"""Records every model that transformers and timm build, and compares recordings with models built for real."""
