# test_t14_fds.py - T14: fds are a typed list: what stands between two colons is a number, there is at
# least one, none is there twice, and none is standard input, output or error.
import pytest

LAB = """\
nodes:
  g:
    kind: guest
    command: prog
    interfaces: {eth0: {tap: {fds: FDS}}}
"""


@pytest.mark.parametrize("fds, words", (
    ('"3::4"', '"fds" is a list of numbers, not "3::4"'),
    ("3::4", '"fds" is a list of numbers, not "3::4"'),
    ('"3:"', '"fds" is a list of numbers, not "3:"'),
    ('":3"', '"fds" is a list of numbers, not ":3"'),
    ('""', '"fds" is the number of an open file, not ""'),
    ("[]", '"fds" is empty'),
    ("[3, 4, 3]", "fd 3 is there twice"),
    ("[4, 04]", "fd 4 is there twice"),
    ("[3, 0]", "fd 0 is standard input"),
    ("[1, 3]", "fd 1 is standard output"),
    ("[3, -4]", 'is the number of an open file, not "-4"'),
    ("[3, 4x]", 'is the number of an open file, not "4x"'),
    ("[3, 0x4]", 'is the number of an open file, not "0x4"'),
))
def test_t14_refused_at_its_place(lab, fds, words):
    made = lab(LAB.replace("FDS", fds))
    said = made.verb("validate", made.file, status=2).stderr
    assert f"{made.file}:5:" in said and words in said, said


def test_t14_a_list_of_one_and_of_more(lab):
    for fds in ("7", "[7]", "[7, 8, 9]"):
        made = lab(LAB.replace("FDS", fds))
        made.verb("validate", made.file)
