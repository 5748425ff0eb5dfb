"""The queue of an account's budget, on a clock of its own: who comes when, and how often it has to ask.

Each caller does what an action does: it asks, comes back when it was told to, and a little later than that.
"""

from __future__ import annotations

import heapq
import random
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest
from redis import Redis

from deedbox.shared.core.attempts import backoff_s
from deedbox.shared.redis import keys
from deedbox.shared.redis.scripting import Scripts
from deedbox.workers.dropbox_sign.call_budgets import GRACE_S, SLACK_S, CallBudgets, Turn

pytestmark = pytest.mark.real_redis

RATE = 15
BEGIN = 1_800_000_000.0
LATE_S = 0.7
"""A call comes up to so much later than it was told: the sweeper's tick, and a lane that is busy."""

Answers = Callable[[str], bool]


@dataclass
class Account:
    """One account's downloads in discrete time."""

    budgets: CallBudgets
    answers: Answers = lambda _name: True
    """Whether a download brings the document; if not, it is a 409."""
    now: float = BEGIN
    asked: Counter[str] = field(default_factory=Counter)
    """Calls of the action, by document."""
    admitted: list[tuple[float, str]] = field(default_factory=list)
    stored: list[str] = field(default_factory=list)
    _tries: Counter[str] = field(default_factory=Counter)
    _since: dict[str, float] = field(default_factory=dict)
    _due: list[tuple[float, int, str]] = field(default_factory=list)
    _random: random.Random = field(default_factory=lambda: random.Random(7))

    def arrive(self, name: str, at_s: float) -> None:
        """Let the callback of a document come, so many seconds after the beginning."""
        heapq.heappush(self._due, (BEGIN + at_s, len(self._due) + sum(self.asked.values()), name))

    def run(self, until_s: float = 10**9) -> None:
        """Make all calls until then."""
        while self._due and self._due[0][0] < BEGIN + until_s:
            self.now, _, name = heapq.heappop(self._due)
            self.asked[name] += 1
            turn = Turn(name, self._since.setdefault(name, self.now), self._tries[name])
            if (group := name.partition("@")[2]) != "":
                turn = turn.behind(group)
            wait_s = self.budgets.take("account", turn, "files", "api")
            if wait_s == 0:
                self.admitted.append((self.now - BEGIN, name))
                if self.answers(name):
                    self.stored.append(name)
                    continue
                self._tries[name] += 1
                wait_s = backoff_s(self._tries[name], 0.5)
            self.arrive(name, self.now - BEGIN + wait_s + self._random.random() * LATE_S)

    def waited_s(self, name: str) -> float:
        """Return how long a document waited for its first download."""
        at = next(at for at, each in self.admitted if each == name)
        return at - (self._since[name] - BEGIN)


@pytest.fixture
def account(state: Redis) -> Iterator[Account]:
    made: list[Account] = []
    state.config_set("appendfsync", "no")  # ten thousand calls, none of which must survive
    budgets = CallBudgets(Scripts(state), {"files": RATE, "api": 60}, lambda: made[0].now)
    made.append(Account(budgets))
    yield made[0]
    state.config_set("appendfsync", "always")


def test_three_thousand_documents_are_fetched_in_order_and_each_asks_less_than_three_times(
    account: Account, state: Redis
) -> None:
    names = [f"d{number:04}" for number in range(3000)]
    for number, name in enumerate(names):
        account.arrive(name, number * 0.01)
    account.run()
    assert sorted(account.stored) == names
    assert sum(account.asked.values()) / len(names) < 3
    overtaken = max(abs(place - names.index(name)) for place, name in enumerate(account.stored))
    assert overtaken < RATE  # those of one turn come together
    assert account.now - BEGIN < len(names) / RATE * (60 + SLACK_S + LATE_S)
    for start in range(len(names) - RATE):
        assert account.admitted[start + RATE][0] - account.admitted[start][0] >= 60
    assert state.keys(keys.PREFIX + "budget:*:queue") == state.keys(keys.PREFIX + "budget:*:due") == []


def test_requests_that_are_never_ready_take_no_turn_of_a_fresh_one(account: Account) -> None:
    """500 that answer 409 for hours ask for far more than the budget; one fresh document comes every 20 s."""
    account.answers = lambda name: name.startswith("fresh")
    for number in range(500):
        account.arrive(f"never{number}", number * 0.01)
    account.run(until_s=4 * 3600)
    begun = account.now - BEGIN
    fresh = [f"fresh{number:03}" for number in range(180)]
    for number, name in enumerate(fresh):
        account.arrive(name, begun + 20 * number)
    account.run(until_s=begun + 20 * len(fresh) + 120)
    assert sorted(account.stored) == fresh
    # The window may be full of the others' calls: then the next that ends is for the fresh one.
    assert max(account.waited_s(name) for name in fresh) <= 60 + SLACK_S + LATE_S
    assert sum(account.asked[name] for name in fresh) / len(fresh) < 3


FLOOD = [f"forged{number}@one-hash" for number in range(300)]


@pytest.mark.parametrize("genuine", ["known", "new@another-hash"])
def test_a_flood_of_one_hash_delays_neither_a_known_request_nor_one_of_another_hash(
    account: Account, genuine: str
) -> None:
    account.answers = lambda name: not name.startswith("forged")
    for number, name in enumerate(FLOOD):
        account.arrive(name, number * 0.003)
    account.arrive(genuine, 1)
    account.run(until_s=600)
    # The window may be full of the flood's first calls: then the next that ends is for the genuine one.
    assert account.waited_s(genuine) <= 60 + SLACK_S + LATE_S


def test_a_bulk_send_of_one_second_is_fetched_in_the_order_in_which_it_came(account: Account) -> None:
    names = [f"bulk{number:03}@one-second" for number in range(60)]
    for number, name in enumerate(names):
        account.arrive(name, number * 0.01)
    account.run()
    assert sorted(account.stored) == names
    assert max(abs(place - names.index(name)) for place, name in enumerate(account.stored)) < RATE


def test_groups_are_forgotten(account: Account, state: Redis) -> None:
    account.arrive(FLOOD[0], 0)
    account.run(until_s=1)
    (groups,) = state.keys(keys.PREFIX + "budget:files:*:groups")
    assert 0 < state.ttl(groups) <= 600


def test_what_was_not_ready_once_goes_before_what_was_not_ready_for_hours(account: Account) -> None:
    account.answers = lambda name: name == "new" and account.asked["new"] > 2
    for number in range(200):
        account.arrive(f"never{number}", number * 0.01)
    account.run(until_s=2 * 3600)
    account.arrive("new", account.now - BEGIN)
    account.run(until_s=account.now - BEGIN + 300)
    assert account.stored == ["new"]


def test_a_killed_holder_holds_up_nobody_for_longer_than_its_grace(account: Account) -> None:
    """SIGKILL: some that wait never come back, and one was killed with its call in hand."""
    for number in range(RATE):
        assert account.budgets.take("account", Turn(f"killed{number}"), "files", "api") == 0
    for number in range(RATE):
        assert account.budgets.take("account", Turn(f"gone{number}"), "files", "api") > 0
    for number in range(RATE):
        account.arrive(f"d{number}", 1)
    account.run()
    assert len(account.stored) == RATE
    last = account.admitted[-1][0]
    assert last <= 2 * (60 + SLACK_S) + GRACE_S + LATE_S


def test_a_pause_that_the_api_asks_for_is_one_wait_and_not_a_herd(account: Account) -> None:
    account.budgets.pause_until("account", BEGIN + 600)
    for number in range(60):
        account.arrive(f"d{number:02}", number * 0.01)
    account.run()
    assert account.admitted[0][0] >= 600
    assert max(account.asked.values()) < 3
    assert account.stored == sorted(account.stored, key=lambda name: int(name[1:]) // RATE)


def test_a_second_budget_that_is_used_up_takes_nothing_of_the_first(account: Account) -> None:
    for number in range(60):
        assert account.budgets.take("account", Turn(f"look{number}"), "api") == 0
    assert account.budgets.take("account", Turn("d1"), "files", "api") == pytest.approx(60, abs=1)
    for number in range(RATE - 1):  # but for the place that waits
        assert account.budgets.take("account", Turn(f"f{number}"), "files") == 0
    account.now += 61
    assert account.budgets.take("account", Turn("d1"), "files", "api") == 0


def test_two_accounts_do_not_wait_for_each_other(account: Account) -> None:
    for number in range(RATE):
        assert account.budgets.take("account", Turn(f"d{number}"), "files") == 0
    assert account.budgets.take("account", Turn("more"), "files") > 0
    assert account.budgets.take("another", Turn("more"), "files") == 0
