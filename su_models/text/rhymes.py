"""Rhymes of Chinese characters, by the finals of their pinyin."""

# the fourteen rhymes of 《中华新韵》; "-i" is the final of zhi and zi, v is ü
RHYMES = (
    "a ia ua",
    "o e uo",
    "ie ve",
    "ai uai",
    "ei uei",
    "ao iao",
    "ou iou",
    "an ian uan van",
    "en in uen vn",
    "ang iang uang",
    "eng ing ueng ong iong",
    "i er v",
    "-i",
    "u",
)
_NUMBERS = {
    final: number
    for number, finals in enumerate(RHYMES, start=1)
    for final in finals.split()
}
_SIBILANTS = {"zh", "ch", "sh", "r", "z", "c", "s"}


def rhyme_numbers(characters):
    """Returns the number of the rhyme of each character.

    A character has the rhyme of its most frequent reading in modern Mandarin,
    whatever its tone.

    Args:
        characters: iterable of strings of one character.

    Returns:
        A list of integers: 1 to 14, or 0 for what has no reading.

    Raises:
        ImportError: if the package `pypinyin` is not installed.
    """
    try:
        from pypinyin import Style, lazy_pinyin
    except ImportError as error:
        raise ImportError(
            'Rhymes need the package `pypinyin`: pip install "su_models[poems]"'
        ) from error

    def part(character, style):
        found = lazy_pinyin(character, style=style, errors="ignore")
        return found[0] if found else ""

    numbers = []
    for character in characters:
        final = part(character, Style.FINALS)
        if final == "i" and part(character, Style.INITIALS) in _SIBILANTS:
            final = "-i"
        numbers.append(_NUMBERS.get(final, 0))
    return numbers
