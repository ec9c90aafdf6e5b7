"""Limits on the wire: bursts of 20 writes of a user; ten times as much for a user's reads, and for
each client address. A day's worth of 20 is back so slowly that counts are exact on any machine."""

import re
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import count

import pytest

from tests.api.asking import Stage, assert_problem, eventually
from tests.support.server import serve

BURST = 20
DAY = 86400
DAILY = f"{BURST}/day"


@pytest.fixture(scope="module")
def limited(tmp_path_factory):
    """A server behind a proxy: so that tests come from an address each."""
    folder = tmp_path_factory.mktemp("limited")
    with (
        serve(folder, rate_limit=DAILY, trusted_proxies="127.0.0.1") as server,
        Stage(server) as stage,
    ):
        stage.movie("m")
        yield stage


def passed(call, most):
    """How many of ``most`` calls at once are let through, and the answers that are 429."""
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: call(), range(most)))
    refused = [answer for answer in answers if answer.status_code == 429]
    for answer in refused:
        assert_limited(answer)
    return most - len(refused), refused


def assert_limited(answer):
    assert_problem(answer, 429)
    wait = int(answer.headers["retry-after"])
    assert wait >= 1
    limit = re.fullmatch(r'"([a-z]+)";r=(\d+);t=(\d+)', answer.headers["ratelimit"])
    policy = re.fullmatch(r'"([a-z]+)";q=(\d+);w=(\d+)', answer.headers["ratelimit-policy"])
    assert limit is not None
    assert policy is not None
    assert limit[1] == policy[1]
    assert limit[2] == "0"
    assert int(limit[3]) <= wait
    return policy[1], int(policy[2]), int(policy[3])


def at(address):
    return {"X-Forwarded-For": address}


class TestWrites:
    def test_of_a_user(self, limited):
        with limited.user() as user:
            user.headers.update(at("10.0.1.1"))
            let_through, refused = passed(
                lambda: user.post("/movies/m/users/rate", json={"rate": 9}), BURST + 10
            )
            assert let_through == BURST
            assert assert_limited(refused[0]) == ("ratings", BURST, DAY)
            # Another way to write is none around it; to read is another matter.
            body = {"userId": user.user, "ratingScore": 9}
            assert user.post("/movies/m/ratings", json=body).status_code == 429
            assert user.delete("/movies/m/users/rate").status_code == 429
            assert user.delete("/users/me/ratings").status_code == 429
            assert user.get("/movies/m/users/rate").status_code == 200

    def test_what_was_refused_was_not_written(self, limited):
        with limited.user() as user:
            user.headers.update(at("10.0.1.2"))
            accepted = []
            for number in range(BURST + 5):
                rate = number % 20 / 2 + 0.5
                answer = user.post("/movies/m/users/rate", json={"rate": rate})
                if answer.status_code == 200:
                    accepted.append(answer.json())
            assert user.get("/movies/m/users/rate").json() == accepted[-1]

    def test_one_user_is_not_another(self, limited):
        for _ in range(3):
            with limited.user() as user:
                user.headers.update(at("10.0.1.3"))
                let_through, _ = passed(
                    lambda user=user: user.post("/movies/m/users/rate", json={"rate": 9}), BURST
                )
                assert let_through == BURST

    def test_a_service_is_limited_by_those_it_acts_for(self, limited):
        def rate(user_id):
            body = {"userId": user_id, "ratingScore": 9}
            return limited.service.post("/movies/m/ratings", json=body, headers=at("10.0.1.4"))

        for _ in range(3):
            user_id = limited.name("user")
            let_through, _ = passed(lambda user_id=user_id: rate(user_id), BURST + 5)
            assert let_through == BURST
        with limited.user(id=user_id) as user:  # who has used up their own
            user.headers.update(at("10.0.1.5"))
            answer = user.post("/movies/m/users/rate", json={"rate": 9})
            assert answer.status_code == 429

    def test_nobody_uses_up_what_is_another_users(self, limited):
        victim = limited.name("victim")
        with limited.user() as user:
            user.headers.update(at("10.0.1.6"))
            body = {"userId": victim, "ratingScore": 9}
            for _ in range(BURST + 5):
                assert user.post("/movies/m/ratings", json=body).status_code in {403, 429}
        with limited.user(id=victim) as other:
            other.headers.update(at("10.0.1.6"))
            assert other.post("/movies/m/users/rate", json={"rate": 9}).status_code == 200


class TestReads:
    def test_of_a_user_are_ten_times_as_many(self, limited):
        with limited.user() as user:

            def ask(address="10.0.2.1"):
                return user.get("/users/me/ratings", headers=at(address))

            assert passed(ask, 10 * BURST + 10)[0] == 10 * BURST
            assert assert_limited(ask("10.0.2.2")) == ("reads", 10 * BURST, DAY)


class TestAddresses:
    def test_get_ten_times_as_much(self, limited):
        let_through, refused = passed(
            lambda: limited.anyone.get("/movies/m", headers=at("10.0.3.1")), 10 * BURST + 10
        )
        assert let_through == 10 * BURST
        assert assert_limited(refused[0]) == ("address", 10 * BURST, DAY)
        assert limited.anyone.get("/movies/m", headers=at("10.0.3.2")).status_code == 200

    def test_unknown_paths_and_bad_tokens_count_too(self, limited):
        headers = at("10.0.3.3") | {"Authorization": "Bearer x"}
        for method, path in [("GET", "/nope"), ("GET", "/users/me/ratings"), ("PATCH", "/movies")]:
            for _ in range(BURST):
                answer = limited.anyone.request(method, path, headers=headers)
                assert answer.status_code in {401, 404, 405}
        let_through, _ = passed(
            lambda: limited.anyone.get("/movies/m", headers=headers), 10 * BURST
        )
        assert let_through == 7 * BURST
        for method, path in [("GET", "/nope"), ("GET", "/users/me/ratings"), ("PATCH", "/movies")]:
            assert_limited(limited.anyone.request(method, path, headers=headers))

    def test_what_is_ready_in_memory_is_not_limited(self, limited):
        for path in ("/movies/top10", "/health/live", "/health/ready"):
            let_through, _ = passed(lambda path=path: limited.anyone.get(path), 10 * BURST + 40)
            assert let_through == 10 * BURST + 40

    def test_only_the_trusted_hops_count(self, limited):
        """Of "a, b" that our proxy sends, it heard from b; what b said of a is b's word."""
        numbers = count()

        def ask():
            return limited.anyone.get("/movies/m", headers=at(f"10.9.9.{next(numbers)}, 10.0.3.4"))

        assert passed(ask, 10 * BURST + 10)[0] == 10 * BURST


def test_by_default_no_proxy_is_trusted(tmp_path):
    with serve(tmp_path, rate_limit=DAILY) as server, Stage(server) as stage:
        numbers = count()

        def ask():
            address = f"10.0.{next(numbers)}.1"
            headers = {"Forwarded": f"for={address}", "X-Real-IP": address}
            return stage.anyone.get("/movies/m", headers=headers | at(address))

        assert passed(ask, 10 * BURST + 10)[0] == 10 * BURST


def test_another_limit(tmp_path):
    with serve(tmp_path, rate_limit="9/hour") as server, Stage(server) as stage:
        stage.movie("m")
        began = time.monotonic()
        with stage.user() as user:
            for status in (*[200] * 9, 429):
                answer = user.post("/movies/m/users/rate", json={"rate": 9})
                assert answer.status_code == status
            assert assert_limited(answer)[1:] == (9, 3600)
            elapsed = time.monotonic() - began
            assert 400 - elapsed <= int(answer.headers["retry-after"]) <= 400


def test_after_a_while_one_more_is_let_through(tmp_path):
    with serve(tmp_path, rate_limit="20/minute") as server, Stage(server) as stage:
        stage.movie("m")
        with stage.user() as user:

            def rate():
                return user.post("/movies/m/users/rate", json={"rate": 9}).status_code

            for awaited in (429, 200):
                eventually(rate, lambda status, awaited=awaited: status == awaited)
