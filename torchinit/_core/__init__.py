"""The initializers and the parts that they share."""
