"""The initializers of torch.nn.init and what they are made of."""
