"""What came of playing a history."""

import dataclasses


@dataclasses.dataclass
class Outcome:
    """The steps that were played, how many queries were compared, the first failure; why it ended early; the steps that Spark refused."""

    played: list = dataclasses.field(default_factory=list)
    checks: int = 0
    failure: dict | None = None
    unreadable: str | None = None
    refused: list = dataclasses.field(default_factory=list)


class Broken(Exception):
    """An error of Spark, or of these tests, that is not of fastdata: at this step."""

    def __init__(self, step, error):
        super().__init__(f"{type(error).__name__}: {error}")
        self.step = step
