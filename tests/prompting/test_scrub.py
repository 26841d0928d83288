import pytest

from fedtailor.prompting.scrub import CUT, MOST_CHARACTERS, scrub

EXAMPLES = ["My card ending 4411 has not arrived at the new flat yet", "lost wallet"]
LONG = "The instruction should separate delays from losses and say what a topic is, since many texts are short and plain. "


def test_a_run_of_five_words_of_an_example_is_cut():
    text = LONG + "It fails where the CARD has not arrived at the house."
    # five words in a row are "has not arrived at the"; "card has not arrived at" is none: the example has "card ending 4411"
    assert scrub(text, EXAMPLES) == LONG + f"It fails where the CARD {CUT} house."


def test_all_words_of_a_short_example_are_cut():
    assert "wallet" not in scrub(LONG + "A lost wallet is another matter.", EXAMPLES)


@pytest.mark.parametrize("private", ["ann@bank.org", "4411", "+44 20 7946 0958", "Anna Schmidt", "https://a.org/x?y=1"])
def test_addresses_numbers_and_names_are_cut(private):
    assert scrub(LONG + f"see {private} for that.", []) == LONG + f"see {CUT} for that."


def test_of_a_critique_that_repeats_much_nothing_is_left():
    assert scrub("Texts such as my card ending 4411 has not arrived fail.", EXAMPLES) == ""
    assert scrub("...", EXAMPLES) == ""


def test_a_long_critique_ends_with_a_word():
    found = scrub(LONG * 20, EXAMPLES)
    assert len(found) <= MOST_CHARACTERS
    assert found.split()[-1] in LONG.split()
