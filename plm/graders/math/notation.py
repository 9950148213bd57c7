"""Brings the many ways to write an answer down to one: delimiters, Unicode, money, grouped digits, escapes."""

from __future__ import annotations

import re

MAX_ANSWER = 2_000
"""Characters of an answer that is read as mathematics; a longer one is compared as text."""

_UNICODE = {
    **{
        "−": "-",
        "–": "-",
        "—": "-",
        "‐": "-",
        "‑": "-",
        "﹣": "-",
        "－": "-",
        "＋": "+",
        "＝": "=",
        "／": "/",
        "⁄": "/",
    },
    **{"×": "\\times ", "⋅": "\\cdot ", "·": "\\cdot ", "∙": "\\cdot ", "∗": "*", "÷": "\\div ", "∕": "/"},
    **{"≤": "\\le ", "≥": "\\ge ", "⩽": "\\le ", "⩾": "\\ge ", "≠": "\\ne ", "≈": "\\approx ", "≡": "\\equiv "},
    **{"∈": "\\in ", "∪": "\\cup ", "∩": "\\cap ", "∖": "\\setminus ", "∅": "\\emptyset ", "∞": "\\infty "},
    **{"±": "\\pm ", "∓": "\\mp ", "°": "^\\circ ", "º": "^\\circ ", "∘": "^\\circ ", "π": "\\pi ", "√": "\\sqrt "},
    **{"∛": "\\sqrt[3] ", "ℝ": "\\mathbb{R}", "ℤ": "\\mathbb{Z}", "ℕ": "\\mathbb{N}", "ℚ": "\\mathbb{Q}"},
    **{"θ": "\\theta ", "α": "\\alpha ", "β": "\\beta ", "γ": "\\gamma ", "δ": "\\delta ", "λ": "\\lambda "},
    **{"μ": "\\mu ", "φ": "\\phi ", "ω": "\\omega ", "σ": "\\sigma ", "ρ": "\\rho ", "τ": "\\tau ", "ε": "\\epsilon "},
    **{"½": "\\frac{1}{2}", "⅓": "\\frac{1}{3}", "⅔": "\\frac{2}{3}", "¼": "\\frac{1}{4}", "¾": "\\frac{3}{4}"},
    **{"⅕": "\\frac{1}{5}", "⅛": "\\frac{1}{8}", "⅜": "\\frac{3}{8}", "⅝": "\\frac{5}{8}", "⅞": "\\frac{7}{8}"},
    **{"，": ",", "、": ",", "；": ";", "。": ".", "：": ":", "（": "(", "）": ")", "［": "[", "］": "]", "％": "%"},
    **{"⟨": "\\langle ", "⟩": "\\rangle ", "〈": "\\langle ", "〉": "\\rangle ", "′": "'", "’": "'", "‘": "'"},
    **{"\u00a0": " ", "\u2009": " ", "\u202f": " ", "\u3000": " ", "\u200b": "", "\ufeff": "", "\0": ""},
    **{"€": "", "£": "", "¥": "", "\u2061": "", "⌊": "\\lfloor ", "⌋": "\\rfloor ", "⌈": "\\lceil ", "⌉": "\\rceil "},
    **{chr(0xFF10 + d): str(d) for d in range(10)},
}
_TRANSLATION = str.maketrans(_UNICODE)
_SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺ⁿ", "0123456789-+n")
_SUBSCRIPTS = str.maketrans("₀₁₂₃₄₅₆₇₈₉", "0123456789")
_COMMANDS = (
    "boxed|fbox|[dtc]?frac|sqrt|text(?:bf|rm|it|normal)?|mbox|left|right|begin|end|pi|cdot|times|circ|infty|cup|cap|pm|"
    "leq?|geq?|neq?|lt|gt|theta|alpha|beta|mathrm|mathbf|mathbb|quad|sin|cos|tan|log|ln|overline|approx|in|langle|"
    "rangle|binom|dbinom|operatorname|frac"
)
_ESCAPED = re.compile(rf"(?<!\\)\\\\(?=(?:{_COMMANDS})(?![a-zA-Z]))")
_ESCAPED_ANYTHING = re.compile(r"(?<!\\)\\\\(?=[a-zA-Z%$!,;:{}])")
_UNION = re.compile(r"(?<=[)\]}])\s*[Uu]\s*(?=[(\[{\\])")
_GLUE = r"(?:\\[,!;: ]|\{,\}|,\\[!,;: ]|~)"
_GROUPED = re.compile(rf"(?<=\d),?{_GLUE}\s?(?=\d{{3}}(?!\d))")
_SPACED_GROUPS = re.compile(r"(?<![\d.,])[1-9]\d{0,2}(?: \d{3})+(?:\.\d+)?(?![\d.]|\s?/)")
THOUSANDS = re.compile(r"[1-9]\d{0,2}(?:,\d{3})+(?!,?\d)")
_BARE_THOUSANDS = re.compile(rf"(?<![\d.,(\[{{]){THOUSANDS.pattern}")
_DECIMAL_COMMA = re.compile(r"[-+]?\d+,\d+\s*(?:\\?%)?")
_DOTTED_GROUPS = re.compile(r"(?<![\d.,])[1-9]\d{0,2}(?:(?:\.\d{3}){2,}(?:,\d+)?|(?:\.\d{3})+,\d+)(?![\d.,])")
_DELIMITERS = re.compile(r"(?<!\\)\\[()\[\]]|\$")
_MONEY = re.compile(r"\\\$|\\(?:pounds|euro|yen)(?![a-zA-Z])|(?:US|USD|EUR)\s*(?=\\?\$|\d)")
_INVERSE = re.compile(r"\b([fgh])\^\{?-1\}?\s*(?=\()")
_JOINED_SPACE = re.compile(r"\\q?quad(?=[a-zA-Z])")
_PUNCTUATION = " \t\r\n.,;:*"


def clean(text: str) -> str:
    r"""One answer without delimiters, money signs, grouped digits and typographic characters; still LaTeX or plain.

    A comma between groups of three digits groups them, but not inside brackets, where it separates; `\\,`, `\\!` and
    `{,}` group everywhere.
    """
    if re.search(r"[⁰¹²³⁴-⁹⁻⁺ⁿ]", text):
        text = re.sub(r"[⁰¹²³⁴-⁹⁻⁺ⁿ]+", lambda m: f"^{{{m[0].translate(_SUPERSCRIPTS)}}}", text)
    if re.search(r"[₀-₉]", text):
        text = re.sub(r"[₀-₉]+", lambda m: f"_{{{m[0].translate(_SUBSCRIPTS)}}}", text)
    escaped = _ESCAPED if "begin" in text else _ESCAPED_ANYTHING
    text = _UNION.sub(r" \\cup ", escaped.sub(r"\\", text).translate(_TRANSLATION))
    text = text.replace("\\degree", "^\\circ ")
    text = _JOINED_SPACE.sub(" ", _DELIMITERS.sub(" ", _MONEY.sub("", text)))
    text = text.strip(_PUNCTUATION.replace(".", ""))
    text = text.removesuffix(".").rstrip(_PUNCTUATION)
    while text.endswith("\\") and not text.endswith("\\\\"):
        text = text[:-1].rstrip(_PUNCTUATION)
    text = _INVERSE.sub(r"\1'", _GROUPED.sub("", text))
    text = _SPACED_GROUPS.sub(lambda m: m[0].replace(" ", ""), text)
    text = _DOTTED_GROUPS.sub(lambda m: m[0].replace(".", "").replace(",", "."), text)
    return text.strip()


def readings(text: str) -> list[str]:
    """The ways to read the commas of a clean answer: as marks of thousands, and as separators."""
    grouped = _BARE_THOUSANDS.sub(lambda m: m[0].replace(",", ""), text)
    return [text] if grouped == text else [grouped, text]


def with_point(text: str) -> str | None:
    """A clean answer with its decimal comma as a point; None if it is no number with a decimal comma."""
    if _DECIMAL_COMMA.fullmatch(text) and not THOUSANDS.fullmatch(text.lstrip("+-")):
        return text.replace(",", ".")
    return None


_SAME = [
    (re.compile(r"\\(?:left|right|[bB]igg?[lrm]?)(?![a-zA-Z])\.?"), ""),
    (re.compile(r"\\[dtc]frac(?![a-zA-Z])"), r"\\frac"),
    (re.compile(r"\\(?:text(?:bf|rm|it|normal|sf)?|mbox|mathrm|mathbf|operatorname|emph|bf|rm)(?![a-zA-Z])\s*"), ""),
    (re.compile(r"\\[,!;: ]|\\q?quad(?![a-zA-Z])|[\s~]"), ""),
]


def canonical(text: str) -> str:
    """A clean answer as a text to compare: without blanks, fonts, sizes of brackets, and braces around a letter."""
    for pattern, replacement in _SAME:
        text = pattern.sub(replacement, text)
    text = text.replace("\\{", "\x01").replace("\\}", "\x02")
    text = re.sub(r"\{([A-Za-z\d])\}", r"\1", text)
    while text.startswith("{") and text.endswith("}") and "{" not in text[1:-1] and "," not in text:
        text = text[1:-1]
    return text.replace("\x01", "\\{").replace("\x02", "\\}").rstrip(".")


def words_of(text: str) -> str:
    """A clean answer as words to compare: in lower case, without punctuation and brackets around all of it."""
    text = re.sub(r"[{}.,;:'\"`*]", "", canonical(text)).casefold()
    return text[1:-1] if text.startswith("(") and text.endswith(")") else text
