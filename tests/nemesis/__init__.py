"""A nemesis for real clusters: processes killed, stopped and cut off while clients write and read, and every answer that they got judged from outside.

`python -m tests.nemesis` runs it for as long as one likes, `tests/integration/process/test_nemesis.py` for three minutes. The judge is the simulator's
(`sim/checkers/linear.py`): it looks at nothing but calls and answers.
"""
