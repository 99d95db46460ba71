"""Lambda functions beyond the elementary ones: error function, gamma and Bessel functions, as in Go's `math`.

Ports of FreeBSD's s_erf.c, e_j0.c, e_j1.c, e_jn.c and of Cephes' gamma.c with Go's order of operations; see gomath.py,
whose rules hold here too.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tickc.runtime.builtins import builtin
from tickc.runtime.builtins.gomath import (
    INF,
    NAN,
    ONE,
    PI,
    TWO,
    ZERO,
    cos,
    exp,
    float_bits,
    float_from_bits,
    is_special,
    log,
    pow_,
    sin,
)
from tickc.runtime.kernel import kernel
from tickc.runtime.kinds import Kind
from tickc.runtime.routine import routine

_FLOAT = (Kind.FLOAT,)

TWO_OVER_PI = 0.6366197723675814
INV_SQRT_PI = 0.5641895835477563  # 1/sqrt(pi)


# Error function


@routine
def _erf_near(x: float) -> float:
    """(erf x - x) / x for 0 <= x < 0.84375."""
    z = x * x
    r = -5.77027029648944159157e-03 + z * -2.37630166566501626084e-05
    r = 1.28379167095512558561e-01 + z * (-3.25042107247001499370e-01 + z * (-2.84817495755985104766e-02 + z * r))
    s = 5.08130628187576562776e-03 + z * (1.32494738004321644526e-04 + z * -3.96022827877536812320e-06)
    s = 1.0 + z * (3.97917223959155352819e-01 + z * (6.50222499887672944485e-02 + z * s))
    return r / s


@routine
def _erf_middle(x: float) -> float:
    """erf x - erx for 0.84375 <= x < 1.25, erx being erf 1 in single precision."""
    s = x - 1.0
    p = -1.10894694282396677476e-01 + s * (3.54783043256182359371e-02 + s * -2.16637559486879084300e-03)
    p = 4.14856118683748331666e-01 + s * (-3.72207876035701323847e-01 + s * (3.18346619901161753674e-01 + s * p))
    p = -2.36211856075265944077e-03 + s * p
    q = 1.26171219808761642112e-01 + s * (1.36370839120290507362e-02 + s * 1.19844998467991074170e-02)
    q = 1.06420880400844228286e-01 + s * (5.40397917702171048937e-01 + s * (7.18286544141962662868e-02 + s * q))
    return p / (1.0 + s * q)


@routine
def _erfc_far(x: float) -> float:
    """x erfc x for x >= 1.25."""
    s = 1.0 / (x * x)
    if x < 2.857142857142857:
        p = -1.84605092906711035994e02 + s * (-8.12874355063065934246e01 + s * -9.81432934416914548592e00)
        p = -1.05586262253232909814e01 + s * (-6.23753324503260060396e01 + s * (-1.62396669462573470355e02 + s * p))
        p = -9.86494403484714822705e-03 + s * (-6.93858572707181764372e-01 + s * p)
        q = 1.08635005541779435134e02 + s * (6.57024977031928170135e00 + s * -6.04244152148580987438e-02)
        q = 4.34565877475229228821e02 + s * (6.45387271733267880336e02 + s * (4.29008140027567833386e02 + s * q))
        q = 1.0 + s * (1.96512716674392571292e01 + s * (1.37657754143519042600e02 + s * q))
    else:
        p = -6.37566443368389627722e02 + s * (-1.02509513161107724954e03 + s * -4.83519191608651397019e02)
        p = -1.77579549177547519889e01 + s * (-1.60636384855821916062e02 + s * p)
        p = -9.86494292470009928597e-03 + s * (-7.99283237680523006574e-01 + s * p)
        q = 2.55305040643316442583e03 + s * (4.74528541206955367215e02 + s * -2.24409524465858183362e01)
        q = 3.25792512996573918826e02 + s * (1.53672958608443695994e03 + s * (3.19985821950859553908e03 + s * q))
        q = 1.0 + s * (3.03380607434824582924e01 + s * q)
    z = float_from_bits(float_bits(x) & -0x100000000)
    return exp(-z * z - 0.5625) * exp((z - x) * (z + x) + p / q)


@builtin("erf", _FLOAT, Kind.FLOAT, examples={"erf(0.0)": 0.0, "erf(10.0)": 1.0})
@routine
def erf(x: float) -> float:
    """The error function (FreeBSD s_erf.c)."""
    x = np.float64(x)
    if x != x:
        return x
    size = abs(x)
    if size < 0.84375:
        if size < 3.725290298461914e-09:  # 2**-28
            if size < 2.848094538889218e-306:
                y: float = 0.125 * (8.0 * size + 1.02703333676410069053e00 * size)
            else:
                y = size + 1.28379167095512586316e-01 * size
        else:
            y = size + size * _erf_near(size)
    elif size < 1.25:
        y = 8.45062911510467529297e-01 + _erf_middle(size)
    elif size >= 6.0:
        y = 1.0
    else:
        y = 1.0 - _erfc_far(size) / size
    return np.copysign(y, x)


@builtin("erfc", _FLOAT, Kind.FLOAT, examples={"erfc(0.0)": 1.0, "erfc(30.0)": 0.0})
@routine
def erfc(x: float) -> float:
    """1 - erf(x), accurate for large x (FreeBSD s_erf.c)."""
    x = np.float64(x)
    if x != x:
        return x
    negative = x < 0.0
    x = abs(x)
    if x < 0.84375:
        near = x
        if x >= 1.3877787807814457e-17:  # 2**-56
            part = _erf_near(x)
            near = x + x * part if x < 0.25 else 0.5 + (x * part + (x - 0.5))
        return 1.0 + near if negative else 1.0 - near
    if x < 1.25:
        y = _erf_middle(x)
        return 1.8450629115104675 + y if negative else 0.15493708848953247 - y
    if x < 28.0 and not (negative and x > 6.0):
        y = _erfc_far(x) / x
        return 2.0 - y if negative else y
    return TWO if negative else ZERO


# Gamma function


@routine
def _stirling(x: float) -> tuple[Any, Any]:
    """Two factors whose product is gamma x, for x > 33 (Cephes gamma.c)."""
    if x > 200.0:
        return INF, 1.0
    w = 1.0 / x
    p = (7.87311395793093628397e-04 * w + -2.29549961613378126380e-04) * w + -2.68132617805781232825e-03
    w = 1.0 + w * ((p * w + 3.47222221605458667310e-03) * w + 8.33333333333482257126e-02)
    y = np.float64(exp(x))
    if x > 143.01608:
        v = pow_(x, 0.5 * x - 0.25)
        return v, 2.506628274631000502417 * w * (v / y)
    return pow_(x, x - 0.5) / y, 2.506628274631000502417 * w * 1.0


@routine
def _gamma_reflected(x: float) -> float:
    """gamma x for x < -33 that is no integer, by the reflection formula."""
    q = -x
    p = np.floor(q)
    sign = -1.0 if _is_even(p) else 1.0
    z = q - p
    if z > 0.5:
        z = q - (p + 1.0)
    z = q * sin(PI * z)
    if z == 0.0:
        return sign * INF
    f1, f2 = _stirling(q)
    z = abs(z)
    d = z * f1 * f2
    if is_special(d):
        return sign * (PI / z / f1 / f2)
    return sign * (PI / d)


@kernel
def _is_even(x: float) -> bool:
    """Whether the whole number `x`, below 2**63, is even."""
    return np.int64(x) & 1 == 0


@builtin("gamma", _FLOAT, Kind.FLOAT, examples={"gamma(5.0)": 24.0, "gamma(-1.0)": math.nan})
@routine
def gamma(x: float) -> float:
    """The gamma function, NaN at negative integers (Cephes gamma.c)."""
    x = np.float64(x)
    if x != x or x == -INF or (x < 0.0 and np.trunc(x) == x):
        return NAN
    if x == 0.0:
        return np.copysign(INF, x)
    if x > 33.0:
        f1, f2 = _stirling(x)
        return f1 * f2
    if x < -33.0:
        return _gamma_reflected(x)
    z = np.float64(1.0)
    while x >= 3.0:
        x = x - 1.0
        z = z * x
    while x < 0.0 and x <= -1e-09:
        z = z / x
        x = x + 1.0
    while x < 2.0 and x >= 1e-09:
        z = z / x
        x = x + 1.0
    if x == 0.0:
        return INF
    if x < 1e-09:
        return z / ((1.0 + 0.5772156649015329 * x) * x)
    if x == 2.0:
        return z
    return _gamma_ratio(x - 2.0, z)


@routine
def _gamma_ratio(x: float, z: float) -> float:
    """z gamma(x + 2) for 0 < x < 1."""
    p = ((1.60119522476751861407e-04 * x + 1.19135147006586384913e-03) * x + 1.04213797561761569935e-02) * x
    p = ((p + 4.76367800457137231464e-02) * x + 2.07448227648435975150e-01) * x
    p = (p + 4.94214826801497100753e-01) * x + 9.99999999999999996796e-01
    q = ((-2.31581873324120129819e-05 * x + 5.39605580493303397842e-04) * x + -4.45641913851797240494e-03) * x
    q = ((q + 1.18139785222060435552e-02) * x + 3.58236398605498653373e-02) * x
    q = ((q + -2.34591795718243348568e-01) * x + 7.14304917030273074085e-02) * x + 1.00000000000000000320e00
    return z * p / q


# Bessel functions (FreeBSD e_j0.c, e_j1.c, e_jn.c). One row of a table an interval: from 8, 4.5454, 2.8571 and 2 on


# fmt: off
_P0R = np.array(
    [
        [0.0, -0.07031249999999004, -8.081670412753498, -257.06310567970485, -2485.216410094288, -5253.043804907295],
        [-1.141254646918945e-11, -0.07031249408735993, -4.159610644705878, -67.67476522651673,
         -331.23129964917297, -346.4333883656049],
        [-2.547046017719519e-09, -0.07031196163814817, -2.409032215495296, -21.96597747348831,
         -58.07917047017376, -31.44794705948885],
        [-8.875343330325264e-08, -0.07030309954836247, -1.4507384678095299, -7.635696138235278,
         -11.193166886035675, -3.2336457935133534],
    ]
)
_P0S = np.array(
    [
        [116.53436461966818, 3833.7447536412183, 40597.857264847255, 116752.97256437592, 47627.728414673096],
        [60.753938269230034, 1051.2523059570458, 5978.970943338558, 9625.445143577745, 2406.058159229391],
        [35.85603380552097, 361.51398305030386, 1193.6078379211153, 1127.9967985690741, 173.58093081333575],
        [22.22029975320888, 136.2067942182152, 270.4702786580835, 153.87539420832033, 14.65761769482562],
    ]
)
_Q0R = np.array(
    [
        [0.0, 0.0732421874999935, 11.76820646822527, 557.6733802564019, 8859.197207564686, 37014.62677768878],
        [1.8408596359451553e-11, 0.07324217666126848, 5.8356350896205695, 135.11157728644983,
         1027.243765961641, 1989.9778586460538],
        [4.377410140897386e-09, 0.07324111800429114, 3.344231375161707, 42.621844074541265,
         170.8080913405656, 166.73394869665117],
        [1.5044444488698327e-07, 0.07322342659630793, 1.99819174093816, 14.495602934788574,
         31.666231750478154, 16.252707571092927],
    ]
)
_Q0S = np.array(
    [
        [163.77602689568982, 8098.344946564498, 142538.29141912048, 803309.2571195144,
         840501.5798190605, -343899.2935378666],
        [82.77661022365378, 2077.81416421393, 18847.28877857181, 56751.11228949473,
         35976.75384251145, -5354.342756019448],
        [48.75887297245872, 709.689221056606, 3704.1482262011136, 6460.425167525689,
         2516.3336892036896, -149.2474518361564],
        [30.36558483552192, 269.34811860804984, 844.7837575953201, 882.9358451124886,
         212.66638851179883, -5.3109549388266695],
    ]
)
_P1R = np.array(
    [
        [0.0, 0.11718749999998865, 13.239480659307358, 412.05185430737856, 3874.7453891396053, 7914.479540318917],
        [1.3199051955624352e-11, 0.1171874931906141, 6.802751278684329, 108.30818299018911,
         517.6361395331998, 528.7152013633375],
        [3.025039161373736e-09, 0.11718686556725359, 3.9329775003331564, 35.11940355916369,
         91.05501107507813, 48.55906851973649],
        [1.0771083010687374e-07, 0.11717621946268335, 2.368514966676088, 12.242610914826123,
         17.693971127168773, 5.073523125888185],
    ]
)
_P1S = np.array(
    [
        [114.20737037567841, 3650.9308342085346, 36956.206026903346, 97602.79359349508, 30804.27206278888],
        [59.28059872211313, 991.4014187336144, 5353.26695291488, 7844.690317495512, 1504.0468881036106],
        [34.79130950012515, 336.76245874782575, 1046.8713997577513, 890.8113463982564, 103.78793243963928],
        [21.43648593638214, 125.29022716840275, 232.2764690571628, 117.6793732871471, 8.364638933716183],
    ]
)
_Q1R = np.array(
    [
        [0.0, -0.10253906249999271, -16.271753454459, -759.6017225139501, -11849.806670242959, -48438.512428575035],
        [-2.089799311417641e-11, -0.10253905024137543, -8.05644828123936, -183.66960747488838,
         -1373.1937606550816, -2612.4444045321566],
        [-5.078312264617666e-09, -0.10253782982083709, -4.610115811394734, -57.847221656278364,
         -228.2445407376317, -219.21012847890933],
        [-1.7838172751095887e-07, -0.10251704260798555, -2.7522056827818746, -19.663616264370372,
         -42.32531333728305, -21.371921170370406],
    ]
)
_Q1S = np.array(
    [
        [161.3953697007229, 7825.385999233485, 133875.33628724958, 719657.7236832409,
         666601.2326177764, -294490.26430383464],
        [81.27655013843358, 1991.7987346048596, 17468.48519249089, 49851.42709103523,
         27948.075163891812, -4719.183547951285],
        [47.66515503237295, 673.8651126766997, 3380.1528667952634, 5547.729097207228,
         1903.119193388108, -135.20119144430734],
        [29.533362906052385, 252.98154998219053, 757.5028348686454, 739.3932053204672,
         155.94900333666612, -4.959498988226282],
    ]
)
# fmt: on


@kernel
def _row(x: float) -> int:
    """The row of the tables above for x >= 2."""
    if x >= 8.0:
        return 0
    if x >= 4.5454:
        return 1
    return 2 if x >= 2.8571 else 3


@routine
def _ratio5(p: np.ndarray, q: np.ndarray, z: float) -> float:
    """p(z) / (1 + z q(z)), p and q with six and five coefficients."""
    r = p[0] + z * (p[1] + z * (p[2] + z * (p[3] + z * (p[4] + z * p[5]))))
    return r / (1.0 + z * (q[0] + z * (q[1] + z * (q[2] + z * (q[3] + z * q[4])))))


@routine
def _ratio6(p: np.ndarray, q: np.ndarray, z: float) -> float:
    """p(z) / (1 + z q(z)), p and q with six coefficients."""
    r = p[0] + z * (p[1] + z * (p[2] + z * (p[3] + z * (p[4] + z * p[5]))))
    return r / (1.0 + z * (q[0] + z * (q[1] + z * (q[2] + z * (q[3] + z * (q[4] + z * q[5]))))))


@routine
def _bessel0_far(x: float) -> tuple[Any, Any]:
    """j0 and y0 for finite x >= 2."""
    s, c = sin(x), cos(x)
    ss = s - c
    cc = s + c
    if x < 8.988465674311579e307:
        z = -cos(x + x)
        if s * c < 0.0:
            cc = z / ss
        else:
            ss = z / cc
    root = np.sqrt(x)
    if x > 6.80564733841876926926749214863536422912e38:  # 2**129
        return INV_SQRT_PI * cc / root, INV_SQRT_PI * ss / root
    row = _row(x)
    z = 1.0 / (x * x)
    u = 1.0 + _ratio5(_P0R[row], _P0S[row], z)
    v = (-0.125 + _ratio6(_Q0R[row], _Q0S[row], z)) / x
    return INV_SQRT_PI * (u * cc - v * ss) / root, INV_SQRT_PI * (u * ss + v * cc) / root


@routine
def _bessel1_far(x: float) -> tuple[Any, Any]:
    """j1 and y1 for finite x >= 2."""
    s, c = sin(x), cos(x)
    ss = -s - c
    cc = s - c
    if x < 8.988465674311579e307:
        z = cos(x + x)
        if s * c > 0.0:
            cc = z / ss
        else:
            ss = z / cc
    root = np.sqrt(x)
    if x > 6.80564733841876926926749214863536422912e38:  # 2**129
        return INV_SQRT_PI * cc / root, INV_SQRT_PI * ss / root
    row = _row(x)
    z = 1.0 / (x * x)
    u = 1.0 + _ratio5(_P1R[row], _P1S[row], z)
    v = (0.375 + _ratio6(_Q1R[row], _Q1S[row], z)) / x
    return INV_SQRT_PI * (u * cc - v * ss) / root, INV_SQRT_PI * (u * ss + v * cc) / root


@builtin("j0", _FLOAT, Kind.FLOAT, examples={"j0(0.0)": 1.0})
@routine
def j0(x: float) -> float:
    """The Bessel function of the first kind of order 0."""
    x = abs(np.float64(x))
    if x != x:
        return x
    if x == INF:
        return ZERO
    if x >= 2.0:
        return _bessel0_far(x)[0]
    if x < 1.220703125e-04:  # 2**-13
        return ONE if x < 7.450580596923828e-09 else 1.0 - 0.25 * x * x  # 2**-27
    z = x * x
    r = -1.89979294238854721751e-04 + z * (1.82954049532700665670e-06 + z * -4.61832688532103189199e-09)
    r = z * (1.56249999999999947958e-02 + z * r)
    s = 1.16926784663337450260e-04 + z * (5.13546550207318111446e-07 + z * 1.16614003333790000205e-09)
    s = 1.0 + z * (1.56191029464890010492e-02 + z * s)
    if x < 1.0:
        return 1.0 + z * (-0.25 + (r / s))
    u = 0.5 * x
    return (1.0 + u) * (1.0 - u) + z * (r / s)


@builtin("y0", _FLOAT, Kind.FLOAT, examples={"y0(0.0)": -math.inf, "y0(-1.0)": math.nan})
@routine
def y0(x: float) -> float:
    """The Bessel function of the second kind of order 0."""
    x = np.float64(x)
    if x < 0.0 or x != x:
        return NAN
    if x == INF:
        return ZERO
    if x == 0.0:
        return -INF
    if x >= 2.0:
        return _bessel0_far(x)[1]
    if x <= 7.450580596923828e-09:  # 2**-27
        return -7.38042951086872317523e-02 + TWO_OVER_PI * log(x)
    z = x * x
    u = -3.81407053724364161125e-06 + z * (1.95590137035022920206e-08 + z * -3.98205194132103398453e-11)
    u = 1.76666452509181115538e-01 + z * (-1.38185671945596898896e-02 + z * (3.47453432093683650238e-04 + z * u))
    u = -7.38042951086872317523e-02 + z * u
    v = 7.60068627350353253702e-05 + z * (2.59150851840457805467e-07 + z * 4.41110311332675467403e-10)
    v = 1.0 + z * (1.27304834834123699328e-02 + z * v)
    return u / v + TWO_OVER_PI * j0(x) * log(x)


@builtin("j1", _FLOAT, Kind.FLOAT, examples={"j1(0.0)": 0.0})
@routine
def j1(x: float) -> float:
    """The Bessel function of the first kind of order 1."""
    x = np.float64(x)
    if x != x:
        return x
    if x == 0.0 or is_special(x):
        return ZERO
    size = abs(x)
    if size >= 2.0:
        y = _bessel1_far(size)[0]
        return -y if x < 0.0 else y
    if size < 7.450580596923828e-09:  # 2**-27; Go loses the sign here
        return 0.5 * size
    z = size * size
    r = 1.40705666955189706048e-03 + z * (-1.59955631084035597520e-05 + z * 4.96727999609584448412e-08)
    r = z * (-6.25000000000000000000e-02 + z * r)
    s = 1.17718464042623683263e-06 + z * (5.04636257076217042715e-09 + z * 1.23542274426137913908e-11)
    s = 1.0 + z * (1.91537599538363460805e-02 + z * (1.85946785588630915560e-04 + z * s))
    y = 0.5 * size + r * size / s
    return -y if x < 0.0 else y


@builtin("y1", _FLOAT, Kind.FLOAT, examples={"y1(0.0)": -math.inf})
@routine
def y1(x: float) -> float:
    """The Bessel function of the second kind of order 1."""
    x = np.float64(x)
    if x < 0.0 or x != x:
        return NAN
    if x == INF:
        return ZERO
    if x == 0.0:
        return -INF
    if x >= 2.0:
        return _bessel1_far(x)[1]
    if x <= 5.551115123125783e-17:  # 2**-54
        return -TWO_OVER_PI / x
    z = x * x
    u = -1.91256895875763547298e-03 + z * (2.35252600561610495928e-05 + z * -9.19099158039878874504e-08)
    u = -1.96057090646238940668e-01 + z * (5.04438716639811282616e-02 + z * u)
    v = 1.35608801097516229404e-06 + z * (6.22741452364621501295e-09 + z * 1.66559246207992079114e-11)
    v = 1.0 + z * (1.99167318236649903973e-02 + z * (2.02552581025135171496e-04 + z * v))
    return x * (u / v) + TWO_OVER_PI * (j1(x) * log(x) - 1.0 / x)


@routine
def _bessel_huge(phase: Any, x: float) -> float:
    """(s + c) / sqrt(pi x) with the signs of `phase`: bit 0 negates sin x, bit 1 negates cos x."""
    s, c = sin(x), cos(x)
    s = -s if phase & 1 else s
    c = -c if phase & 2 else c
    return INV_SQRT_PI * (s + c) / np.sqrt(x)


@routine
def _jn_series(n: Any, x: float) -> float:
    """jn for x < 2**-29: (x/2)**n / n!."""
    if n > 33:
        return ZERO
    half = x * 0.5
    b = half
    a = 1.0
    for i in range(2, n + 1):
        a *= i
        b *= half
    return b / a


@routine
def _jn_fraction(n: Any, x: float) -> float:
    """jn / j(n-1) for n > x, by the continued fraction."""
    w = np.float64(n + n) / x
    h = 2.0 / x
    q0 = w
    z = w + h
    q1 = w * z - 1.0
    k = np.int64(1)
    while q1 < 1e9:
        k += 1
        z += h
        q0, q1 = q1, z * q1 - q0
    t = np.float64(0.0)
    i = 2 * (n + k)
    while i >= n + n:
        t = 1.0 / (np.float64(i) / x - t)
        i -= 2
    return t


@routine
def _jn_backward(n: Any, x: float) -> float:
    """jn for n > x, by recurrence from n down to 0."""
    t = _jn_fraction(n, x)
    a = t
    b = np.float64(1.0)
    size = np.float64(n)
    may_overflow = size * log(abs(2.0 / x * size)) >= 7.09782712893383973096e02
    i = n - 1
    while i > 0:
        a, b = b, b * np.float64(i + i) / x - a
        if may_overflow and b > 1e100:
            a /= b
            t /= b
            b = np.float64(1.0)
        i -= 1
    return t * j0(x) / b


@routine
def _jn_forward(n: Any, x: float) -> float:
    """jn for n <= x < 2**302, by recurrence from 0 up."""
    a = j0(x)
    b = j1(x)
    for i in range(1, n):
        a, b = b, b * (np.float64(i + i) / x) - a
    return b


@builtin("jn", (Kind.INT, Kind.FLOAT), Kind.FLOAT, examples={"jn(0, 0.0)": 1.0, "jn(2, 0.0)": 0.0})
@routine
def jn(n: int, x: float) -> float:
    """The Bessel function of the first kind of order n (int64)."""
    order, x = np.int64(n), np.float64(x)
    if x != x:
        return x
    if is_special(x):
        return ZERO
    if order == 0:
        return j0(x)
    if x == 0.0:
        return ZERO
    if order < 0:
        order, x = -order, -x
    if order == 1:
        return j1(x)
    size = abs(x)
    if np.float64(order) <= size:
        if size >= 8.148143905337944e90:  # 2**302
            phase = order & 3
            y = _bessel_huge(2 * (phase == 1 or phase == 2) + (phase >= 2), size)
        else:
            y = _jn_forward(order, size)
    elif size < 1.862645149230957e-09:  # 2**-29
        y = _jn_series(order, size)
    else:
        y = _jn_backward(order, size)
    return -y if x < 0.0 and order & 1 == 1 else y


@builtin("yn", (Kind.INT, Kind.FLOAT), Kind.FLOAT, examples={"yn(0, -1.0)": math.nan, "yn(-1, 0.0)": math.inf})
@routine
def yn(n: int, x: float) -> float:
    """The Bessel function of the second kind of order n (int64)."""
    order, x = np.int64(n), np.float64(x)
    if x < 0.0 or x != x:
        return NAN
    if x == INF:
        return ZERO
    if order == 0:
        return y0(x)
    negate = order < 0 and order & 1 == 1
    if x == 0.0:
        return INF if negate else -INF
    order = abs(order)
    if order == 1:
        y = y1(x)
    elif x >= 8.148143905337944e90:  # 2**302
        phase = order & 3
        y = _bessel_huge((phase == 1 or phase == 2) + 2 * (phase <= 1), x)
    else:
        y = _yn_forward(order, x)
    return -y if negate else y


@routine
def _yn_forward(n: Any, x: float) -> float:
    """yn for x < 2**302, by recurrence from 0 up."""
    a = y0(x)
    b = y1(x)
    i = np.int64(1)
    while i < n and b != -INF:
        a, b = b, (np.float64(i + i) / x) * b - a
        i += 1
    return b
