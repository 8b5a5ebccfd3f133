"""The wrong answers of learners by exercise: how many get a hint that names the mistake, a general one, or none.

python -m tests.lessons.hint_table [--hints]     --hints prints each answer's hint too, for somebody to judge

Exits with 1 where an answer does not get the hint that was judged right for it (the long ones too, which the fast tests
leave out).
"""

import sys
from collections import Counter, defaultdict

from tests.lessons.learners import wrong_answers
from tinymixer.lessons.grading import examine


def main() -> None:
    table: dict[str, Counter[str]] = defaultdict(Counter)
    faults = []
    for answer in wrong_answers():
        faults.append(answer.fault())
        verdict = examine(answer.number, *answer.functions())
        kind = "named" if verdict.known else "general" if verdict.hint else "none"
        table[answer.number][kind] += 1
        if "--hints" in sys.argv:
            print(f"{answer.number} {answer.did}: [{kind}]\n    {verdict.hint or verdict.sentence}")
    print(f"{'exercise':<10}{'answers':>8}{'named':>8}{'general':>8}{'none':>8}")
    for number, counted in [*table.items(), ("all", sum(table.values(), Counter()))]:
        print(f"{number:<10}{counted.total():>8}{counted['named']:>8}{counted['general']:>8}{counted['none']:>8}")
    print("\n".join(filter(None, faults)) or "Each has the hint that was judged right for it.")
    sys.exit(any(faults))


if __name__ == "__main__":
    main()
