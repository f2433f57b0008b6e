# SPDX-License-Identifier: Apache-2.0
"""What the checks know of English words and phrases; of other languages they know nothing."""

import re

_PRONOUNS = """
    i me you he she him her hers it we us they them this that these those one ones each both
    all some many others everyone everything someone something which who what there himself
    herself itself themselves his its theirs mine yours ours
"""
_ABBREVIATED = """
    st ave rd blvd dr mr mrs ms jr sr no vs inc co ltd etc mt ft
"""
_PEOPLE_AND_ANIMALS = """
    man men woman women boy boys girl girls child children kid kids baby babies person people
    guy guys lady ladies player players rider riders skier skiers surfer surfers skateboarder
    snowboarder dog dogs cat cats horse horses bird birds cow cows sheep elephant elephants
    giraffe giraffes zebra zebras bear bears he she they it someone everyone couple family
    team group crowd
"""
# Verbs of captions that are hardly ever nouns: in these forms, and after any noun.
_PLAIN_VERBS = """
    is are was were has have rides wears holds sits eats carries throws leans sleeps smiles
    poses grazes lies waits enjoys prepares walks stands runs plays jumps looks hangs swims
    sat stood held wore ran rode ate threw
"""
# Verbs that may as well be nouns ("two skis on the snow"): only after a person or an animal.
_OTHER_VERBS = """
    ride rides run runs walk walks stand stands sit play plays jump jumps look looks eat drink
    drinks fly flies watch watches catch catches kick kicks drive drives surf surfs ski skis
    work works talk talks read reads rest rests cross crosses face faces swing swings swim
    swims hold wear pose wait lie lean sleep graze chase chases climb climbs cut cuts pull
    pulls push pushes
"""
_BEHIND_A_VERB = """
    a an the his her its their some two three in on at with to through over across along down
    up into near by for around past toward towards under beside behind next from together
    outside inside while
"""
# "a pair of shoes" may be one box or two.
_GROUPS = """
    pair pairs couple group groups row rows bunch bunches pile piles crowd herd flock set sets
    number few lot lots dozen dozens stack stacks series collection variety team family line
    many several cluster audience band fleet array choir class crew squad army pack swarm
    school bouquet assortment queue range parade procession orchestra staff gang troop litter
    gathering batch bundle string chain handful selection display party congregation convoy
    hundred hundreds thousand thousands trio duo quartet half mix
"""
# Where a head noun phrase ends.
_AFTER_HEADS = """
    of in on at with near by from under behind beside above below over who which that whose
    and or to for along around between inside outside next wearing holding standing sitting
    walking running playing riding lying looking eating made
"""
_PLURALS = """
    people men women children sheep deer fish feet mice geese cattle oxen teeth police firemen
    policemen fishermen businessmen snowmen elk moose bison salmon aircraft dice
"""
# What fills a picture to its borders by its nature.
_STUFFS = """
    sky skies cloud clouds grass lawn beach shore sea ocean water wave waves surf sand river
    lake pond road street highway sidewalk pavement path trail floor ground dirt mud field
    meadow pasture hill hills hillside slope mountain mountains cliff cliffs snow ice wall
    walls ceiling roof room kitchen bathroom bedroom office hall background foreground forest
    woods jungle tree trees bushes foliage leaves table desk counter countertop bed blanket
    carpet rug couch sofa curtain curtains fence city skyline building buildings court track
    tracks railway platform runway tarmac stadium stands crowd park garden yard horizon sunset
    night darkness bridge pier dock deck plate tray canyon valley desert savanna rock rocks
    window windows shelf shelves hay
"""


def _any(words: str) -> str:
    return f"(?:{'|'.join(words.split())})"


_STOPS = ".!?\u3002\uff01\uff1f"  # the last three: full-width
_PRONOUN = re.compile(_any(_PRONOUNS), re.IGNORECASE)
_ABBREVIATION = re.compile(rf"(?:^|\W)(?:{_any(_ABBREVIATED)}|[a-z])\.$", re.IGNORECASE)
# After one of these a verb belongs to a relative clause, and the phrase is still a noun phrase.
_RELATIVE = re.compile(r"\b(?:who|whom|whose|which|that|where|when|what|as|to)\b", re.IGNORECASE)
_GOES_ON = rf"(?=(?:\s+\w+ly)?\s+{_any(_BEHIND_A_VERB)}\b|\s*[.!]?$)"
_CLAUSE = re.compile(
    rf"\b(?!(?:the|an?|of|in|on|with|and)\b)\w+\s+{_any(_PLAIN_VERBS)}{_GOES_ON}"
    r"|\w\s+(?:is|are|was|were)\s"
    rf"|\b{_any(_PEOPLE_AND_ANIMALS)}\s+{_any(_OTHER_VERBS)}{_GOES_ON}",
    re.IGNORECASE,
)
_PICTURE = r"(?:image|picture|photo|photograph|scene|shot|snapshot|drawing|painting)"
_LEAD_IN = re.compile(
    rf"(?:we|you|one) (?:can )?see\b|there (?:is|are|was|were)\b|in (?:this|the) {_PICTURE}\b"
    r"|(?:(?:here|this|it) is )?(?:this|the|an?)? ?(?:black and white |[\w-]+ )?"
    rf"{_PICTURE} (?:shows|depicts|of|features|captures|contains|displays)\b"
    r"|(?:pictured|shown|depicted|seen)(?: \w+)? (?:is|are)\b|here (?:is|are|we)\b",
    re.IGNORECASE,
)
_NUMBERS = {
    "both": 2, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8,
    "nine": 9, "ten": 10, "eleven": 11, "twelve": 12, "thirteen": 13, "fourteen": 14,
    "fifteen": 15, "sixteen": 16, "seventeen": 17, "eighteen": 18, "nineteen": 19, "twenty": 20,
    "thirty": 30, "forty": 40, "fifty": 50,
}  # fmt: skip
_COUNT = re.compile(
    rf"(?:the |these |those |all )?({'|'.join(_NUMBERS)}|[2-9]|[1-4]\d|50)(?![\w.:,/%°-])",
    re.IGNORECASE,
)
# So many are counted exactly; larger numbers are mostly said at a guess.
_EXACT = 12
_GROUP = re.compile(rf"\b{_any(_GROUPS)}\b|\bof (?:\w+ )?\w+s\b", re.IGNORECASE)
_SINGULAR = re.compile(r"(?:an?|one|this|that|another|each)\s", re.IGNORECASE)
_AFTER_HEAD = re.compile(rf"\s{_any(_AFTER_HEADS)}\b|,", re.IGNORECASE)
_PLURAL = re.compile(rf"{_any(_PLURALS)}|\w*[^s]s", re.IGNORECASE)
_STUFF = re.compile(rf"\b{_any(_STUFFS)}\b", re.IGNORECASE)
_WORD = re.compile(r"[a-z]{3,}")


def is_pronoun(text: str) -> bool:
    """Whether a phrase is a pronoun and nothing else."""
    return _PRONOUN.fullmatch(text.strip(".,")) is not None


def is_sentence(text: str) -> bool:
    """Whether a phrase is a sentence: it ends as one, or has a verb outside a relative clause."""
    if text[-1] in _STOPS and not _ABBREVIATION.search(text):
        return True
    clause = _CLAUSE.search(text)
    return clause is not None and not _RELATIVE.search(text, 0, clause.end())


def lead_in(text: str) -> str | None:
    """The words at the start of a caption that describe nothing in the picture, or None."""
    found = _LEAD_IN.match(text.lstrip())
    return found[0] if found else None


def head_of(text: str) -> str:
    """The last word of a phrase's head noun phrase: of "two dogs on a sofa", "dogs"."""
    words = _AFTER_HEAD.split(text.strip(), maxsplit=1)[0].split()
    return words[-1].casefold().strip(".,'\"") if words else ""


def count_of(text: str) -> tuple[int, int] | None:
    """Least and most boxes that a phrase calls for; None where it says nothing of that."""
    if _GROUP.search(text):
        return None
    if found := _COUNT.match(text):
        if not _PLURAL.fullmatch(head_of(text)):
            return None  # "four wheel drive"
        word = found[1].lower()
        number = _NUMBERS.get(word) or int(word)
        return (number, number) if number <= _EXACT else (number * 3 // 4, number * 5 // 4)
    if "'s " in text or not _SINGULAR.match(text):
        return None  # "a woman's hands"
    return (1, 1)


def is_stuff(text: str) -> bool:
    """Whether a phrase names what fills a picture to its borders."""
    return _STUFF.search(_AFTER_HEAD.split(text, maxsplit=1)[0]) is not None


def words_of(text: str) -> set[str]:
    """Its words of three letters and more, in lower case, Latin ones only."""
    return set(_WORD.findall(text.casefold()))
