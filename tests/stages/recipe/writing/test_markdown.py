"""Documents of any form as a page: what says nothing is not on it."""

from stages.recipe.writing.markdown import as_markdown


def test_a_field_that_says_nothing_is_left_out():
    silent = {"times": {"cooking": None, "total": ""}, "steps": [], "more": {"inner": {"x": None}}}
    assert as_markdown({"title": "a", **silent}, []) == "# a\n"
    said = as_markdown({"title": "a", **silent, "times": {"cooking": 12, "total": None}}, [])
    assert said == "# a\n\n**Times**: Cooking 12\n"
