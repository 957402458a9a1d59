"""A task of your own: a few questions, and a grader that accepts what is right to within a percent.

trim eval --task examples/own_task.py:estimates --questions 4 --policies always-weak,always-strong --out estimates
"""

from trim.tasks import fixed_questions
from trim.types import Question

_QUESTIONS = {
    "A baker sells 12 rolls for 3 dollars each and 5 cakes for 18 dollars each. How many dollars is that?": 126,
    "James has 12 marbles. William has half as many as James. How many marbles do both have?": 18,
    "A train goes 80 miles in an hour. How many miles does it go in 4 hours?": 320,
    "There are 30 pupils in a class. 40% of them walk to school. How many pupils walk to school?": 12,
}


def close_enough(answer: str | None, question: Question) -> bool:
    """Whether an answer lies within a percent of the reference."""
    try:
        given, wanted = float((answer or "").replace(",", "")), float(question.reference or "nan")
    except ValueError:
        return False
    return abs(given - wanted) <= 0.01 * abs(wanted)


estimates = fixed_questions("estimates", [Question(text, str(n)) for text, n in _QUESTIONS.items()], close_enough)
