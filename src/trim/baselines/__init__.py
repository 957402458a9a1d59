"""Methods of other papers, on the same models, questions and prices as TRIM's own policies.

`step_level` holds policies over the same observations, `query_level` solvers that choose a model for a whole question.
Each file cites its paper and says where it departs from it; their names are in `trim.policies.registry`.
"""
