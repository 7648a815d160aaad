"""The result cache: bounded, least recently used first out."""

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chiasm.serving.cache import ENTRY_OVERHEAD, ResultCache

VECTOR = np.arange(4, dtype=np.float32)
ENTRY = ENTRY_OVERHEAD + 1 + 2 + VECTOR.nbytes  # one-byte key, two-character revision


def test_a_vector_is_found_by_content_and_revision() -> None:
    cache = ResultCache(10 * ENTRY)
    cache.put(b"a", "r1", VECTOR)
    found = cache.get(b"a", "r1")
    assert found is not None
    np.testing.assert_array_equal(found, VECTOR)
    assert cache.get(b"a", "r2") is None
    assert cache.get(b"b", "r1") is None
    assert (cache.counts().hits, cache.counts().misses) == (1, 2)


def test_later_changes_to_the_array_do_not_reach_the_cache() -> None:
    cache = ResultCache(10 * ENTRY)
    mine = VECTOR.copy()
    cache.put(b"a", "r1", mine)
    mine[:] = 9
    found = cache.get(b"a", "r1")
    assert found is not None
    assert not found.flags.writeable
    np.testing.assert_array_equal(found, VECTOR)


def test_the_least_recently_used_goes_first() -> None:
    cache = ResultCache(2 * ENTRY)
    cache.put(b"a", "r1", VECTOR)
    cache.put(b"b", "r1", VECTOR)
    cache.get(b"a", "r1")
    cache.put(b"c", "r1", VECTOR)
    assert cache.get(b"b", "r1") is None
    assert cache.get(b"a", "r1") is not None
    assert cache.get(b"c", "r1") is not None


def test_zero_bytes_turn_it_off() -> None:
    cache = ResultCache(0)
    cache.put(b"a", "r1", VECTOR)
    assert cache.get(b"a", "r1") is None
    assert cache.counts().entries == 0


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(st.binary(max_size=2), st.integers(0, 60))), st.integers(0, 3000))
def test_it_never_outgrows_its_bound(puts: list[tuple[bytes, int]], bound: int) -> None:
    cache = ResultCache(bound)
    for key, width in puts:
        cache.put(key, "r", np.zeros(width, np.float32))
        assert cache.counts().bytes <= bound
    held = {key: vector for key, _ in puts if (vector := cache.get(key, "r")) is not None}
    assert cache.counts().bytes == sum(
        ENTRY_OVERHEAD + len(key) + 1 + vector.nbytes for key, vector in held.items()
    )
