import pickle

from fcn_keras import InputError
from fcn_keras.errors import MAX_MESSAGE


def test_a_message_is_one_printable_line_whatever_a_file_brings_along():
    error = InputError("class road\x1b[31m\nof Ålesund\u202e \U0001f600 is unknown")
    assert str(error) == "class road\\x1b[31m\\nof Ålesund\\u202e 😀 is unknown"
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


def test_a_message_has_an_end():
    text = str(InputError("x" * 10**6))
    assert len(text) == MAX_MESSAGE and text.endswith("x ...")
