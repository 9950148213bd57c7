"""The stories that a computation is told in, each in English and in Spanish."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from plm.datamodules.math_domains import group_of_type
from plm.datamodules.mini_math.spec import Operation, Setting

NAMES = ("Mia", "Leo", "Ana", "Omar", "Nora", "Ivan", "Sara", "Hugo")
THINGS: Mapping[Setting, tuple[str, ...]] = {
    "english_latex": ("apples", "books", "coins", "cards", "shells", "stamps", "marbles", "tickets"),
    "spanish_ascii": ("manzanas", "libros", "monedas", "cartas", "conchas", "sellos", "canicas", "boletos"),
}


@dataclass(frozen=True, slots=True)
class Wording:
    """A story in one language; the tellings of a phrase stand in the same order in every language.

    Args:
        opening: Names the first number, `{n}`, or the first two where the story starts with a product. `{name}` and
            `{things}` may stand everywhere.
        lead: What stands before the steps.
        steps: What may be said for an operation with the number `{n}`.
        question: The end.
    """

    opening: str
    lead: str
    steps: Mapping[Operation, tuple[str, ...]]
    question: str


@dataclass(frozen=True, slots=True)
class Story:
    """A kind of problem.

    Args:
        name: Unique.
        type: Its subject, in the words of the MATH dataset.
        wordings: How it is told in each language; none where it is a formula.
        starts_with_product: Whether the first step multiplies the first two numbers.
    """

    name: str
    type: str
    wordings: Mapping[Setting, Wording]
    starts_with_product: bool = False

    @property
    def domain(self) -> str:
        """Its group of subjects (App. E.3 of the paper)."""
        return group_of_type(self.type)


COLLECTION = Story(
    "collection",
    "Prealgebra",
    {
        "english_latex": Wording(
            "{name} has {n} {things}.",
            "Then {name}",
            {
                "+": ("buys {n} more", "finds {n} more"),
                "-": ("gives {n} away", "loses {n}"),
                "*": ("trades all for {n} times as many", "makes {n} times as many of them"),
            },
            "How many {things} does {name} have now?",
        ),
        "spanish_ascii": Wording(
            "{name} tiene {n} {things}.",
            "Luego {name}",
            {
                "+": ("compra {n} más", "encuentra {n} más"),
                "-": ("regala {n}", "pierde {n}"),
                "*": ("cambia todo por {n} veces esa cantidad", "consigue {n} veces lo que tiene"),
            },
            "¿Qué cantidad de {things} tiene ahora {name}?",
        ),
    },
)
SAVINGS = Story(
    "savings",
    "Prealgebra",
    {
        "english_latex": Wording(
            "{name} has saved {n} dollars.",
            "Then {name}",
            {
                "+": ("earns {n} dollars", "is given {n} dollars"),
                "-": ("spends {n} dollars", "pays {n} dollars"),
                "*": ("turns it into {n} times as much", "gets {n} times the sum"),
            },
            "How many dollars does {name} have in the end?",
        ),
        "spanish_ascii": Wording(
            "{name} tiene ahorrados {n} dólares.",
            "Luego {name}",
            {
                "+": ("gana {n} dólares", "recibe {n} dólares"),
                "-": ("gasta {n} dólares", "paga {n} dólares"),
                "*": ("lo convierte en {n} veces esa suma", "obtiene {n} veces la suma"),
            },
            "¿Cuántos dólares tiene {name} al final?",
        ),
    },
)
SEGMENT = Story(
    "segment",
    "Geometry",
    {
        "english_latex": Wording(
            "A segment is {n} cm long.",
            "It is",
            {
                "+": ("extended by {n} cm", "made {n} cm longer"),
                "-": ("shortened by {n} cm", "made {n} cm shorter"),
                "*": ("stretched to {n} times its length", "enlarged by a factor of {n}"),
            },
            "How long is it now, in cm?",
        ),
        "spanish_ascii": Wording(
            "Un segmento mide {n} cm.",
            "Después",
            {
                "+": ("se prolonga {n} cm", "se alarga {n} cm"),
                "-": ("se acorta {n} cm", "se recorta {n} cm"),
                "*": ("se estira a {n} veces su longitud", "se amplía con un factor de {n}"),
            },
            "¿Cuánto mide ahora, en cm?",
        ),
    },
)
RECTANGLE = Story(
    "rectangle",
    "Geometry",
    {
        "english_latex": Wording(
            "A rectangle has sides of {n} cm and {n} cm.",
            "Its area",
            {
                "+": ("grows by {n} square cm", "is increased by {n} square cm"),
                "-": ("shrinks by {n} square cm", "is reduced by {n} square cm"),
                "*": ("becomes {n} times as large", "is multiplied by {n}"),
            },
            "What is the area now, in square cm?",
        ),
        "spanish_ascii": Wording(
            "Un rectángulo tiene lados de {n} cm y {n} cm.",
            "Su área",
            {
                "+": ("crece {n} cm cuadrados", "aumenta en {n} cm cuadrados"),
                "-": ("mengua {n} cm cuadrados", "se reduce en {n} cm cuadrados"),
                "*": ("se hace {n} veces más grande", "se multiplica por {n}"),
            },
            "¿Cuál es ahora el área, en cm cuadrados?",
        ),
    },
    starts_with_product=True,
)
MACHINE = Story(
    "machine",
    "Number Theory",
    {
        "english_latex": Wording(
            "Start with the number {n}.",
            "Then",
            {
                "+": ("add {n}", "increase it by {n}"),
                "-": ("subtract {n}", "decrease it by {n}"),
                "*": ("multiply by {n}", "take it {n} times"),
            },
            "What number do you get?",
        ),
        "spanish_ascii": Wording(
            "Empieza con el número {n}.",
            "Después",
            {
                "+": ("suma {n}", "auméntalo en {n}"),
                "-": ("resta {n}", "redúcelo en {n}"),
                "*": ("multiplica por {n}", "tómalo {n} veces"),
            },
            "¿Qué número obtienes?",
        ),
    },
)
MEALS = Story(
    "meals",
    "Counting & Probability",
    {
        "english_latex": Wording(
            "An inn combines {n} soups freely with {n} desserts.",
            "Then",
            {
                "+": ("{n} special meals are added", "{n} extra meals are offered"),
                "-": ("{n} meals are dropped", "{n} meals sell out"),
                "*": ("each meal comes with one of {n} drinks", "each meal is served in one of {n} sizes"),
            },
            "How many different meals are there?",
        ),
        "spanish_ascii": Wording(
            "Una posada combina libremente {n} sopas con {n} postres.",
            "Luego",
            {
                "+": ("se añaden {n} menús especiales", "se ofrecen {n} menús extra"),
                "-": ("se eliminan {n} menús", "se agotan {n} menús"),
                "*": ("cada menú lleva una de {n} bebidas", "cada menú se sirve en uno de {n} tamaños"),
            },
            "¿Cuántos menús distintos hay?",
        ),
    },
    starts_with_product=True,
)
SUBSTITUTION = Story("substitution", "Algebra", {})
EXPRESSION = Story("expression", "Algebra", {})

STORIES: Mapping[str, Story] = {
    story.name: story for story in (COLLECTION, SAVINGS, SUBSTITUTION, EXPRESSION, SEGMENT, RECTANGLE, MACHINE, MEALS)
}
