"""Names that the reader of answers knows: functions, letters, constants, relations, units."""

from __future__ import annotations

FUNCTIONS = {
    **{name: name for name in ("sin", "cos", "tan", "cot", "sec", "csc", "sinh", "cosh", "tanh", "coth")},
    **{name: name for name in ("arcsin", "arccos", "arctan", "arccot", "arcsec", "arccsc", "exp", "ln", "log", "lg")},
    **{name: name for name in ("gcd", "lcm", "max", "min", "det", "arg")},
    **{"cosec": "csc", "asin": "arcsin", "acos": "arccos", "atan": "arctan", "Re": "re", "Im": "im"},
    **{"sgn": "sign", "floor": "floor", "ceil": "ceil", "abs": "abs"},
}
INVERSES = {name: f"arc{name}" for name in ("sin", "cos", "tan", "cot", "sec", "csc")}
BIG_OPERATORS = ("sum", "prod", "int", "lim", "bigcup", "bigcap")

GREEK = frozenset(
    "alpha beta gamma delta epsilon varepsilon zeta eta theta vartheta iota kappa lambda mu nu xi rho varrho sigma tau "
    "upsilon phi varphi chi psi omega Gamma Delta Theta Lambda Xi Pi Sigma Upsilon Phi Psi Omega ell hbar".split()
)
CONSTANTS = {
    **{"pi": "pi", "infty": "inf", "infinity": "inf", "oo": "inf", "inf": "inf"},
    **{"emptyset": "empty", "varnothing": "empty", "O": "O"},
}
BLACKBOARD = {"R": "reals", "Z": "integers", "N": "naturals", "Q": "rationals", "C": "complex"}

RELATIONS = {
    **{"=": "=", "==": "=", "<": "<", ">": ">", "<=": "<=", ">=": ">=", "!=": "!="},
    **{"\\lt": "<", "\\gt": ">", "\\le": "<=", "\\leq": "<=", "\\leqslant": "<=", "\\leqq": "<="},
    **{"\\ge": ">=", "\\geq": ">=", "\\geqslant": ">=", "\\geqq": ">=", "\\ne": "!=", "\\neq": "!="},
    **{"\\approx": "~", "\\simeq": "~", "\\cong": "~", "\\doteq": "~", "\\in": "in", "\\equiv": "="},
}
TIMES = frozenset(("*", "\\cdot", "\\times", "\\ast"))
OVER = frozenset(("/", "\\div"))

PERCENT = frozenset(("percent", "percents", "percentage", "pct"))
ORDINALS = frozenset(("st", "nd", "rd", "th"))

_UNITS = {
    "mm": "mm millimeter millimeters millimetre millimetres",
    "cm": "cm centimeter centimeters centimetre centimetres",
    "m": "m meter meters metre metres",
    "km": "km kilometer kilometers kilometre kilometres",
    "in": "in inch inches",
    "ft": "ft foot feet",
    "yd": "yd yard yards",
    "mi": "mi mile miles",
    "mg": "mg milligram milligrams",
    "g": "g gram grams",
    "kg": "kg kilogram kilograms",
    "oz": "oz ounce ounces",
    "lb": "lb lbs pound pounds",
    "ml": "ml milliliter milliliters millilitre millilitres",
    "l": "l liter liters litre litres",
    "gal": "gal gallon gallons",
    "s": "s sec secs second seconds",
    "min": "min mins minute minutes",
    "h": "h hr hrs hour hours",
    "day": "day days",
    "week": "week weeks",
    "month": "month months",
    "yr": "yr yrs year years",
    "cent": "cent cents",
    "dollar": "dollar dollars usd",
    "euro": "euro euros eur",
    "mph": "mph",
    "kmh": "kmh kph",
    **{half: half for half in ("am", "pm")},
    "rad": "rad radian radians",
    "deg": "deg degree degrees",
}
UNITS = {word: unit for unit, words in _UNITS.items() for word in words.split()}
MEASURES = frozenset(("square", "cubic", "sq", "cu", "per", "unit", "units"))
