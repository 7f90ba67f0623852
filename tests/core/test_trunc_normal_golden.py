"""Does trunc_normal_ still draw the values that it drew, by seed and by key, in the body and in a tail?

The bounds of the tails are 0, so that a value is a distance from the bound and shows all of its digits.
"""

import math
from dataclasses import dataclass

import pytest
import torch

import torchinit
from tests.support.constant_generator import constant_generator
from torchinit import keyed
from torchinit._core.trunc_normal import invert_

INFINITY = math.inf
# A kernel of another processor may round otherwise.
TOLERANCE = {torch.float32: 2e-6, torch.float64: 1e-13}
SHORT = {torch.float32: "32", torch.float64: "64"}


@dataclass(frozen=True)
class Golden:
    """Values for the arguments mean, std, a and b: by the seed 0, and by the key 0."""

    arguments: tuple[float, float, float, float]
    dtype: torch.dtype
    by_seed: str
    by_key: str

    def __str__(self) -> str:
        return f"{SHORT[self.dtype]} {self.arguments}"


GOLDEN = (
    Golden(
        (0.0, 1.0, -2.0, 2.0),
        torch.float32,
        "-0.00895651244 0.693549514 -1.24154723 -1.04170954",
        "-0.948044956 -0.209263146 -0.386291742 -1.94392848",
    ),
    Golden(
        (0.0, 1.0, -2.0, 2.0),
        torch.float64,
        "1.6320494583734508 0.5197010018198164 -0.0973328618951056 1.290742756958011",
        "-0.6474325245563529 0.609406393701197 -0.9704677855654557 -0.8945510807515498",
    ),
    Golden(
        (0.5, 2.0, -1.0, INFINITY),
        torch.float32,
        "1.06082058 2.33644724 -0.577362657 -0.386811674",
        "-0.285817623 0.731941879 0.457316041 -0.982825041",
    ),
    Golden(
        (0.5, 2.0, -1.0, INFINITY),
        torch.float64,
        "4.484924218735025 2.0044084604366326 0.9135210427755298 3.5880428140512888",
        "0.08486656737169351 2.174364956000567 -0.31065532843981625 -0.2249177161820951",
    ),
    Golden(
        (-3.0, 1.0, 0.0, 7.0),
        torch.float32,
        "0.203007489 0.420198858 0.028105095 0.0428693891",
        "0.0512500219 0.15877831 0.125473678 0.00102331466",
    ),
    Golden(
        (-3.0, 1.0, 0.0, 7.0),
        torch.float64,
        "0.9418640918451698 0.3566858762347905 0.18260698999558964 0.7019306712139088",
        "0.08544453773103912 0.3885883773453384 0.049152611157179275 0.05649384050541946",
    ),
    Golden(
        (3.0, 2.0, -14.0, -4.5),
        torch.float32,
        "-4.83712196 -5.20369577 -4.54633284 -4.57071733",
        "-4.58457279 -4.76319885 -4.7077055 -4.50168514",
    ),
    Golden(
        (3.0, 2.0, -14.0, -4.5),
        torch.float64,
        "-6.10544071010653 -5.095905720192763 -4.802993299404649 -5.687266230315053",
        "-4.6412053731110685 -5.149989064279078 -4.581104211475982 -4.593246861028677",
    ),
    Golden(
        (-2.05, 1.0, 0.0, INFINITY),
        torch.float32,
        "0.270139724 0.54877919 0.0380525775 0.0579526573",
        "0.0692214444 0.212167889 0.168207198 0.00138953677",
    ),
    Golden(
        (-2.05, 1.0, 0.0, INFINITY),
        torch.float64,
        "1.1867970319293055 0.46825814421490675 0.24345714712635247 0.8979416282245126",
        "0.1150029199062464 0.5087963135105846 0.06640303106589363 0.07626262728135569",
    ),
    Golden(
        (-30.0, 1.0, 0.0, 0.5),
        torch.float32,
        "0.0228222981 0.0486391447 0.00308438623 0.00471435813",
        "0.00564255239 0.0177424587 0.0139569165 0.00011187989",
    ),
    Golden(
        (-30.0, 1.0, 0.0, 0.5),
        torch.float64,
        "0.11658836513263468 0.040939512953195686 0.020471788915959167 0.08429211218077969",
        "0.009451993850577921 0.04479151296586555 0.0054100547676090415 0.006224418093952071",
    ),
    Golden(
        (-2.5, 1.0, 0.0, 0.004),
        torch.float32,
        "0.00198002323 0.00306931674 0.000352300383 0.00052583433",
        "0.000620958686 0.00164783269 0.00136538921 1.3351636e-05",
    ),
    Golden(
        (-2.5, 1.0, 0.0, 0.004),
        torch.float64,
        "0.003879628565029261 0.0028271337431880175 0.0018325622737407107 0.0036815257056926507",
        "0.0009849714440916207 0.002955270672462036 0.0005973775307866667 0.0006792644886824443",
    ),
    Golden(
        (-9.0, 1.0, 0.0, 0.02),
        torch.float32,
        "0.00947547704 0.0150332581 0.00163124059 0.00244311476",
        "0.00289052003 0.0078316126 0.00645177439 6.1424973e-05",
    ),
    Golden(
        (-9.0, 1.0, 0.0, 0.02),
        torch.float64,
        "0.01934561578479671 0.013774634019236391 0.008742924906292889 0.018276568549860685",
        "0.004618468904962428 0.014438877289548353 0.002779448165275124 0.0031655969352257112",
    ),
    Golden(
        (0.0, 1.0, 3.0, 10.0),
        torch.float32,
        "3.20300746 3.42019892 3.02810502 3.04286933",
        "3.05124998 3.15877819 3.12547374 3.00102329",
    ),
    Golden(
        (0.0, 1.0, 3.0, 10.0),
        torch.float64,
        "3.94186409184517 3.3566858762347906 3.1826069899955898 3.701930671213909",
        "3.085444537731039 3.3885883773453385 3.0491526111571794 3.0564938405054196",
    ),
    Golden(
        (0.01, 1.0, -2.0, 2.0),
        torch.float32,
        "-0.000309876166 0.701819956 -1.23445368 -1.0340234",
        "-0.940153658 -0.200644329 -0.377745777 -1.94287038",
    ),
    Golden(
        (0.01, 1.0, -2.0, 2.0),
        torch.float64,
        "1.6368964480654786 0.5281460825976193 -0.08869169420252296 1.2976097228237184",
        "-0.63909397105445 0.6177698133837357 -0.9626222890002922 -0.886558868302263",
    ),
)


def _check(values: torch.Tensor, golden: str) -> None:
    expected = torch.tensor([float(value) for value in golden.split()], dtype=torch.float64)
    torch.testing.assert_close(values.double(), expected, rtol=TOLERANCE[values.dtype], atol=0.0)


@pytest.mark.parametrize("golden", GOLDEN, ids=str)
def test_values_are_the_golden_ones(golden: Golden) -> None:
    generator = torch.Generator().manual_seed(0)
    _check(torchinit.trunc_normal_(torch.empty(4, dtype=golden.dtype), *golden.arguments, generator), golden.by_seed)
    _check(keyed.trunc_normal_(torch.empty(4, dtype=golden.dtype), keyed.key(0), *golden.arguments), golden.by_key)


# The least, the second and the greatest draw of the kernel, for each of these arguments.
EXTREMES = (
    ((0.0, 0.001, -2.0, 2.0), torch.float32, "-0.00554152206 -0.00529470434 0.00529470434"),
    ((0.0, 0.001, -2.0, 2.0), torch.float64, "-0.008292361075813597 -0.004900964207917457 0.008209536151601388"),
    ((-3.0, 1.0, 0.0, 7.0), torch.float32, "4.93687118e-08 6.92241855e-08 4.93687118e-08"),
    ((-3.0, 1.0, 0.0, 7.0), torch.float64, "9.247010753991594e-17 1.452400040563968e-07 9.247010753991594e-17"),
    ((3.0, 1.0, -INFINITY, 0.0), torch.float32, "-4.93687118e-08 -6.92241855e-08 -4.93687118e-08"),
    ((3.0, 1.0, -INFINITY, 0.0), torch.float64, "-9.247010753991594e-17 -1.452400040563968e-07 -9.247010753991594e-17"),
    ((-30.0, 1.0, 0.0, 0.5), torch.float32, "9.92310345e-10 9.93412685e-10 9.92310345e-10"),
    ((-30.0, 1.0, 0.0, 0.5), torch.float64, "1.8483220637857332e-18 1.5876969397975407e-08 1.8483220637857332e-18"),
    ((-2.5, 1.0, 0.0, 0.004), torch.float32, "1.1861491e-10 3.55844743e-10 1.1861491e-10"),
    ((-2.5, 1.0, 0.0, 0.004), torch.float64, "2.2093748571607787e-19 1.8978384834193343e-09 2.2093748571607787e-19"),
    ((-1.5, 1.0, 0.0, INFINITY), torch.float32, "0 0 0"),
    ((-1.5, 1.0, 0.0, INFINITY), torch.float64, "0.0 2.459601085025298e-07 0.0"),
    ((1.5, 1.0, -INFINITY, 0.0), torch.float32, "-4.04152203 -4.04152203 -4.04152203"),
    ((1.5, 1.0, -INFINITY, 0.0), torch.float64, "-6.792361075813597 -3.9080565439104875 -6.792361075813597"),
)


@pytest.mark.parametrize(("arguments", "dtype", "golden"), EXTREMES, ids=str)
def test_extreme_draws_are_the_golden_ones(
    arguments: tuple[float, float, float, float], dtype: torch.dtype, golden: str
) -> None:
    drawn = [
        torchinit.trunc_normal_(torch.empty(1, dtype=dtype), *arguments, constant_generator(word))
        for word in (0, 1, 0xFFFFFFFF)
    ]
    _check(torch.cat(drawn), golden)


def test_a_small_draw_by_key_is_the_golden_one() -> None:
    # The least of the key's first million values, 3 * 2^-24; it shows the half step that keeps a draw off the bound.
    place = {"full_size": [1_000_000], "offset": [546_085]}
    _check(keyed.trunc_normal_(torch.empty(1), keyed.key(0), -3.0, 1.0, 0.0, 7.0, **place), "1.08935147e-07")


@pytest.mark.parametrize(
    ("dtype", "golden"), [(torch.float32, "3.4997375"), (torch.float64, "6.044851461970499")], ids=str
)
def test_a_draw_that_a_kernel_rounds_up_to_1_becomes_half_the_last_step(dtype: torch.dtype, golden: str) -> None:
    values = torch.ones(1, dtype=dtype)
    invert_(values, -3.0, 1.0, 0.0, INFINITY)
    _check(values, golden)
