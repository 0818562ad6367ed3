import pytest

from data_pipelines.jobs.wordnet import WordNet

INDEX = """\
  1 This software and database is being provided to you, the LICENSEE
a n 7 1 @ 7 0 13637376
bus n 4 6 @ ~ #m #p %p + 4 1 02924116
cat n 8 5 @ ~ #m %m %p 8 1 02121620
cherry n 4 4 @ ~ %s %p 4 2 07757132
glass n 7 5 @ ~ #p %s + 7 3 14881303
ice n 8 2 @ ~ 8 1 14915184
ice_cream n 1 3 @ ~ ; 1 1 07614500
ice_cream_cone n 1 2 @ ~ 1 0 07616046
leaf n 3 4 @ ~ #p %p 3 2 13152742
match n 9 3 @ ~ + 9 2 03729826
woman n 4 2 @ ~ 4 1 10787470
"""


@pytest.fixture
def wordnet(tmp_path):
    (tmp_path / "index.noun").write_text(INDEX)
    (tmp_path / "noun.exc").write_text("women woman\nleaves leaf\n")
    return WordNet(tmp_path)


@pytest.mark.parametrize(
    "text, nouns",
    [
        ("Two CATS on a bus", ["cat", "bus"]),
        ("cherries, glasses & matches", ["cherry", "glass", "match"]),
        ("an ice-cold ice cream", ["ice_cream"]),
        ("ice cream cones", ["ice_cream_cone"]),
        ("women under leaves", ["woman", "leaf"]),
        ("a", []),
        ("concatenate", []),
        ("", []),
    ],
)
def test_nouns_are_found_in_their_forms_and_the_longest_row_counts(wordnet, text, nouns):
    assert list(wordnet.synsets(text).values()) == nouns


def test_a_synset_is_the_first_sense(wordnet):
    assert wordnet.synsets("the cat") == {"n02121620": "cat"}


def test_a_folder_without_nouns_and_a_line_that_is_none_are_refused(tmp_path):
    with pytest.raises(ValueError, match="must have index.noun"):
        WordNet(tmp_path)
    (tmp_path / "index.noun").write_text("cat n\n")
    with pytest.raises(ValueError, match="got the line 'cat n'"):
        WordNet(tmp_path)
