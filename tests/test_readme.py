"""The README's examples run, and say what they show."""

import doctest
from pathlib import Path

README = Path(__file__).parent.parent / "README.md"


def test_examples_in_the_readme_run() -> None:
    text = "\n".join(line for line in README.read_text().splitlines() if not line.startswith("```"))
    test = doctest.DocTestParser().get_doctest(text, {}, "README.md", str(README), 0)
    assert len(test.examples) > 20
    result = doctest.DocTestRunner(optionflags=doctest.REPORT_NDIFF).run(test)
    assert result.failed == 0
