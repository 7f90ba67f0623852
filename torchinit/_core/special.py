"""Functions of numbers that TorchScript and Python's ``math`` lack."""

import math


def norm_cdf(x: float) -> float:
    return (1.0 + math.erf(x / math.sqrt(2.0))) / 2.0


def erfcx(x: float) -> float:
    """Compute exp(x^2) erfc(x) for positive x."""
    if x < 20.0:
        return math.exp(x * x) * math.erfc(x)
    # The asymptotic series, https://dlmf.nist.gov/7.12.E1; at 20 the first omitted term is 6e-16 of the sum.
    y = 0.5 / (x * x)
    return (1.0 - y * (1.0 - 3.0 * y * (1.0 - 5.0 * y * (1.0 - 7.0 * y * (1.0 - 9.0 * y * (1.0 - 11.0 * y)))))) / (
        x * math.sqrt(math.pi)
    )


def truncated_moments(a: float, b: float) -> tuple[float, float]:
    """Compute the mean and standard deviation of the standard normal distribution truncated to [a, b].

    Integrate numerically, since the closed form (Johnson, Kotz and Balakrishnan 1994, section 13.10) cancels in a tail
    and on a narrow interval. With m the value of the interval nearest to 0, the density at m + t is proportional to
    exp(-t (m + t / 2)). Densities below exp(-40) of the largest are omitted.
    """
    mode = min(b, max(a, 0.0))
    reach = 80.0 / (abs(mode) + math.sqrt(mode * mode + 80.0))
    start, end = max(a - mode, -reach), min(b - mode, reach)
    # Gauss-Legendre of 8 nodes, https://dlmf.nist.gov/3.5.T2, in each of 16 panels.
    nodes = [0.183434642495649805, 0.525532409916328986, 0.796666477413626740, 0.960289856497536232]
    weights = [0.362683783378361983, 0.313706645877887287, 0.222381034453374471, 0.101228536290376259]
    half = (end - start) / 32.0
    if half == 0.0:
        return mode, 0.0
    mass, first, second = 0.0, 0.0, 0.0
    for panel in range(16):
        for node, weight in zip(nodes, weights):
            for side in [-half, half]:
                # In units of half a panel, so that the squares of a narrow interval do not underflow.
                t = start + half * (2 * panel + 1) + side * node
                share = weight * math.exp(-t * (mode + t / 2.0))
                mass += share
                first += share * (t / half)
                second += share * (t / half) * (t / half)
    # The mean of a symmetric interval is exactly 0, the sum only nearly.
    mean = 0.0 if a == -b else first / mass
    return mode + half * mean, half * math.sqrt(max(0.0, second / mass - mean * mean))
