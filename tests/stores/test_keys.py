"""Keys: what is kept of them, what they open, and how much of a rate or a budget is left."""

import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chiasm.errors import InvalidInput, NotFound, RateLimited, StoreError
from chiasm.stores import Allowance, Amounts, Keys, keys_exist
from chiasm.stores.allowances import DAY, Bucket, expect_budget
from chiasm.stores.key_records import split_token
from chiasm.stores.keys import FILE

NOON = 20_000 * DAY + DAY / 2


class Clock:
    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def keys(tmp_path: Path, clock: Clock) -> Iterator[Keys]:
    with Keys(tmp_path, clock=clock) as opened:
        yield opened


def test_a_token_opens_its_own_key_and_a_nearly_right_one_opens_nothing(keys: Keys) -> None:
    record, token = keys.create("laptop", ("write", "read"))
    assert record.rights == ("read", "write")
    assert keys.find(token) == record == keys.get(record.id)
    changed = token[:-1] + ("A" if token[-1] != "A" else "B")
    for wrong in (changed, token.upper(), f"{token} ", f"{token}x", token[3:], "", "none", "ck-", "钥匙"):
        assert keys.find(wrong) is None


def test_the_secret_is_not_on_the_disk_and_only_the_owner_may_read_the_file(
    keys: Keys, tmp_path: Path
) -> None:
    _, token = keys.create("laptop", ("read",))
    split = split_token(token)
    assert split is not None
    for path in tmp_path.glob(f"{FILE}*"):
        assert split[1].encode() not in path.read_bytes()
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_key_was_made_or_not(keys: Keys, tmp_path: Path) -> None:
    assert not keys.exist()
    record, _ = keys.create("a", ("read",))
    assert keys.exist()
    keys.revoke(record.id)
    assert keys.exist(), "a server whose keys were all revoked is not open to everybody"
    assert keys_exist(tmp_path)
    assert not keys_exist(tmp_path / "elsewhere")
    assert not (tmp_path / "elsewhere").exists()


def test_a_revoked_key_opens_nothing_also_where_it_was_open_before(
    keys: Keys, tmp_path: Path, clock: Clock
) -> None:
    _, token = keys.create("phone", ("read",))
    with Keys(tmp_path, clock=clock) as other:
        assert other.find(token) is not None
        revoked = keys.revoke("phone")
        assert revoked.revoked_at == int(NOON)
        assert other.find(token) is None
        assert other.get(revoked.id) is None
    clock.now += 5
    assert keys.revoke(revoked.id).revoked_at == int(NOON)
    with pytest.raises(NotFound):
        keys.revoke("phone")


def test_a_name_that_several_keys_have_names_none_of_them(keys: Keys) -> None:
    first, _ = keys.create("same", ("read",))
    second, _ = keys.create("same", ("read",))
    with pytest.raises(InvalidInput, match="expected the id of one key") as caught:
        keys.revoke("same")
    assert first.id in caught.value.en
    keys.revoke(first.id)
    assert keys.revoke("same").id == second.id


def test_a_key_expires(keys: Keys, clock: Clock) -> None:
    _, token = keys.create("guest", ("read",), expires_at=NOON + 60)
    assert keys.find(token) is not None
    clock.now += 60
    assert keys.find(token) is None


@pytest.mark.parametrize("name", ["", "x" * 101, "a\nb", "\x1b[31m"])
def test_names_are_for_people_to_read(keys: Keys, name: str) -> None:
    with pytest.raises(InvalidInput, match="printable"):
        keys.create(name, ("read",))


@pytest.mark.parametrize("rights", [(), ("root",), ("read", "root")])
def test_rights_are_known_ones(keys: Keys, rights: tuple[str, ...]) -> None:
    with pytest.raises(InvalidInput, match="expected rights among read, write, train, admin"):
        keys.create("a", rights)


@pytest.mark.parametrize("bound", [-1, float("nan"), float("inf")])
def test_bounds_are_numbers(keys: Keys, bound: float) -> None:
    with pytest.raises(InvalidInput) as caught:
        keys.create("a", ("read",), allowance=Allowance(pixels=bound))
    assert caught.value.param == "pixels"


def test_a_rate_holds_across_everyone_who_counts(keys: Keys, tmp_path: Path, clock: Clock) -> None:
    record, _ = keys.create("a", ("read",), allowance=Allowance(rate=6))
    with Keys(tmp_path, clock=clock) as other, ThreadPoolExecutor(8) as pool:

        def refused(number: int) -> tuple[str, int] | None:
            try:
                (keys, other)[number % 2].admit(record)
            except RateLimited as error:
                return error.code, round(error.retry_after or 0)
            return None

        assert (
            sorted(map(str, pool.map(refused, range(24)))) == [str(("rate_limited", 10))] * 18 + ["None"] * 6
        )
        clock.now += 20
        assert list(pool.map(refused, range(24))).count(None) == 2


def test_a_budget_is_a_day_s_and_survives_a_restart(keys: Keys, tmp_path: Path, clock: Clock) -> None:
    record, _ = keys.create("a", ("read",), allowance=Allowance(text_tokens=100, media_seconds=10))
    keys.spend(record, Amounts(text_tokens=60, pixels=10**9))
    with Keys(tmp_path, clock=clock) as again:
        with pytest.raises(RateLimited) as caught:
            again.spend(record, Amounts(text_tokens=41))
        assert caught.value.code == "text_tokens_budget_exceeded"
        assert caught.value.retry_after == DAY / 2
        again.spend(record, Amounts(text_tokens=40, media_seconds=1.5))
        assert again.records() == [(record, Amounts(text_tokens=100, pixels=10**9, media_seconds=1.5))]
        again.spend(record, -Amounts(text_tokens=5))
        again.spend(record, Amounts(text_tokens=5))
        clock.now += DAY
        again.spend(record, Amounts(text_tokens=100))


def test_other_keys_have_budgets_of_their_own(keys: Keys) -> None:
    first, second = (keys.create(n, ("read",), allowance=Allowance(pixels=5))[0] for n in "ab")
    keys.spend(first, Amounts(pixels=5))
    keys.spend(second, Amounts(pixels=5))
    with pytest.raises(RateLimited):
        keys.spend(second, Amounts(pixels=1))


def test_processes_that_count_at_once_lose_nothing(keys: Keys, tmp_path: Path) -> None:
    record, _ = keys.create("a", ("read",))
    code = f"""
from pathlib import Path
from chiasm.stores import Amounts, Keys
with Keys(Path({str(tmp_path)!r}), clock=lambda: {NOON}) as keys:
    record = keys.get({record.id!r})
    for _ in range(200):
        keys.spend(record, Amounts(pixels=1))
"""
    processes = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(2)]
    assert [process.wait(60) for process in processes] == [0, 0]
    assert keys.records()[0][1].pixels == 400


def test_the_seal_is_one_for_all_processes(keys: Keys, tmp_path: Path) -> None:
    with Keys(tmp_path) as other:
        assert len(keys.seal()) == 32
        assert other.seal() == keys.seal()


def test_a_file_that_is_no_database_is_an_error(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"nothing of the kind" * 100)
    with pytest.raises(StoreError, match="usable database"):
        Keys(tmp_path)


def test_a_database_of_keys_says_nothing_to_readers_without_a_secret(keys: Keys, tmp_path: Path) -> None:
    keys.create("a", ("read",))
    with sqlite3.connect(tmp_path / FILE) as connection:
        [(digest,)] = connection.execute("SELECT digest FROM keys").fetchall()
    connection.close()
    assert len(digest) == 32


def test_an_empty_bucket_says_when_to_come_back() -> None:
    bucket = Bucket.full(2, NOON).take(2, NOON).take(2, NOON)
    with pytest.raises(RateLimited) as caught:
        bucket.take(2, NOON + 12)
    assert caught.value.retry_after == pytest.approx(18)
    assert bucket.take(2, NOON + 30.001).level == pytest.approx(0, abs=1e-3)
    with pytest.raises(RateLimited):
        bucket.take(2, NOON - 3600)


def test_a_rate_below_one_a_minute_still_lets_one_through() -> None:
    bucket = Bucket.full(0.5, NOON).take(0.5, NOON)
    with pytest.raises(RateLimited) as caught:
        bucket.take(0.5, NOON)
    assert caught.value.retry_after == pytest.approx(120)
    with pytest.raises(RateLimited):
        Bucket(level=0, at=NOON).take(0, NOON + DAY)


@given(st.floats(1, 1000), st.lists(st.floats(0, 30), max_size=200))
def test_no_minute_has_more_than_twice_the_rate(rate: float, pauses: list[float]) -> None:
    bucket, now, taken = Bucket.full(rate, NOON), NOON, 0
    for pause in pauses:
        now += pause
        try:
            bucket = bucket.take(rate, now)
            taken += 1
        except RateLimited:
            continue
    assert taken <= rate + (now - NOON) * rate / 60 + 1e-6


def test_a_budget_refuses_only_what_it_bounds() -> None:
    used = Amounts(text_tokens=10, pixels=10)
    expect_budget({"text_tokens": 5}, used, Amounts(pixels=1), NOON)
    expect_budget({}, used, Amounts(text_tokens=1), NOON)
    with pytest.raises(RateLimited, match="10 text_tokens a day") as caught:
        expect_budget({"text_tokens": 10}, used, Amounts(text_tokens=1), NOON)
    assert "文本词元" in caught.value.zh
