"""Limits as they stand by default: 60 writes a minute and user, bursts of 20; ten times as much
for a user's reads, and for each client address."""

import re
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.api.asking import Stage, assert_problem
from tests.support.server import serve

BURST, NUMBER = 20, 60


@pytest.fixture(scope="module")
def limited(tmp_path_factory):
    """A server with the limits as they are where nobody set any, behind a proxy: so that tests
    come from an address each."""
    folder = tmp_path_factory.mktemp("limited")
    with (
        serve(folder, rate_limit="60/minute", trusted_proxies="127.0.0.1") as server,
        Stage(server) as stage,
    ):
        stage.movie("m")
        yield stage


def passed(call, most):
    """How many of ``most`` calls at once are let through; those that are not are 429."""
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: call(), range(most)))
    for answer in answers:
        if answer.status_code == 429:
            assert_limited(answer)
    return sum(answer.status_code != 429 for answer in answers), answers


def until_refused(call, burst):
    """How many calls at once are let through until one is not, and that one. Beyond the burst there
    are those for which there was time."""
    began, count = time.monotonic(), 0
    for _ in range(50):
        more, answers = passed(call, 40)
        count += more
        if more < len(answers):
            assert count <= burst + 10 * NUMBER / 60 * (time.monotonic() - began) + 1
            return count, next(answer for answer in answers if answer.status_code == 429)
    raise AssertionError("never limited")


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
            count, answers = passed(
                lambda: user.post("/movies/m/users/rate", json={"rate": 9}), BURST + 10
            )
            assert BURST <= count <= BURST + 2  # it refills by one a second
            refused = next(answer for answer in answers if answer.status_code == 429)
            assert assert_limited(refused)[1:] == (NUMBER, 60)
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
                count, _ = passed(
                    lambda user=user: user.post("/movies/m/users/rate", json={"rate": 9}), BURST
                )
                assert count == BURST

    def test_a_service_is_limited_by_those_it_acts_for(self, limited):
        def rate(user_id):
            body = {"userId": user_id, "ratingScore": 9}
            return limited.service.post("/movies/m/ratings", json=body, headers=at("10.0.1.4"))

        for _ in range(3):
            user_id = limited.name("user")
            count, _ = passed(lambda user_id=user_id: rate(user_id), BURST + 5)
            assert BURST <= count <= BURST + 2
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

            count, refused = until_refused(ask, 10 * BURST)
            assert count >= 10 * BURST
            assert assert_limited(refused)[1:] == (10 * NUMBER, 60)
            until_refused(lambda: ask("10.0.2.2"), 0)


class TestAddresses:
    def test_get_ten_times_as_much(self, limited):
        count, refused = until_refused(
            lambda: limited.anyone.get("/movies/m", headers=at("10.0.3.1")), 10 * BURST
        )
        assert count >= 10 * BURST
        assert assert_limited(refused)[1:] == (10 * NUMBER, 60)
        assert limited.anyone.get("/movies/m", headers=at("10.0.3.2")).status_code == 200

    def test_unknown_paths_and_bad_tokens_count_too(self, limited):
        headers = at("10.0.3.3") | {"Authorization": "Bearer x"}
        until_refused(lambda: limited.anyone.get("/nope", headers=headers), 10 * BURST)
        until_refused(lambda: limited.anyone.get("/users/me/ratings", headers=headers), 0)
        until_refused(lambda: limited.anyone.patch("/movies", headers=headers), 0)

    def test_what_is_ready_in_memory_is_not_limited(self, limited):
        for path in ("/movies/top10", "/health/live", "/health/ready"):
            count, _ = passed(lambda path=path: limited.anyone.get(path), 10 * BURST + 40)
            assert count == 10 * BURST + 40

    def test_only_the_trusted_hops_count(self, limited):
        """Of "a, b" that our proxy sends, it heard from b; what b said of a is b's word."""
        for number in range(10 * BURST + 40):
            headers = at(f"10.9.9.{number}, 10.0.3.4")
            answer = limited.anyone.get("/movies/m", headers=headers)
            if answer.status_code == 429:
                break
        else:
            raise AssertionError("never limited")


def test_by_default_no_proxy_is_trusted(tmp_path):
    with serve(tmp_path, rate_limit="60/minute") as server, Stage(server) as stage:
        stage.movie("m")
        for number in range(10 * BURST + 100):
            headers = at(f"10.0.{number}.1")
            headers |= {"Forwarded": f"for=10.0.{number}.1", "X-Real-IP": f"10.0.{number}.1"}
            if stage.anyone.get("/movies/m", headers=headers).status_code == 429:
                break
        else:
            raise AssertionError("never limited")


def test_another_limit(tmp_path):
    with serve(tmp_path, rate_limit="9/hour") as server, Stage(server) as stage:
        stage.movie("m")
        with stage.user() as user:
            for status in (*[200] * 9, 429):
                answer = user.post("/movies/m/users/rate", json={"rate": 9})
                assert answer.status_code == status
            assert assert_limited(answer)[1:] == (9, 3600)
            assert 390 <= int(answer.headers["retry-after"]) <= 400
