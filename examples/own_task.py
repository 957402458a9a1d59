"""A task of your own: a few questions, and a grader that accepts what is right to within a percent.

trim eval --task examples/own_task.py:estimates --questions 4 --policies always-weak,always-strong --out estimates
"""

from trim import Question, fixed_questions

_QUESTIONS = {
    "David scored 278 points in one game of tennis. Barbara scored 39 more than 50% as many as David. How many points "
    "did David and Barbara have in total?": 456,
    "Harper is required to submit a 82-page essay. She already finished writing 1/2 of the essay. How many pages does "
    "she have left to write?": 41,
    "Richard gets 68 emails a day. 25% of those emails don't require any response. Richard responds to the rest of "
    "them. How many emails does Richard respond to in a 6 day work week?": 306,
    "A juggler can juggle 80 balls. 50% of the balls are golf balls, and 75% of the golf balls are white. How many "
    "white golf balls are there?": 30,
}


def close_enough(answer: str | None, question: Question) -> bool:
    """Whether an answer lies within a percent of the reference."""
    try:
        given, wanted = float((answer or "").replace(",", "")), float(question.reference or "nan")
    except ValueError:
        return False
    return abs(given - wanted) <= 0.01 * abs(wanted)


estimates = fixed_questions("estimates", [Question(text, str(n)) for text, n in _QUESTIONS.items()], close_enough)
