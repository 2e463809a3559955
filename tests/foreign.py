"""How large the random distributions are that the tests of importers compare."""

ROWS, SIZE, PROMPT, STEPS = 200, 60, 5, 9
