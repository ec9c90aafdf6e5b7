"""The server as an operator sees it: starts, answers, stops, starts again."""

from tests.support.server import Server, serve


def test_it_starts_answers_and_stops(server: Server) -> None:
    with server.client() as client:
        assert client.get("/health/live").json() == {"status": "ok"}
        assert client.get("/health/ready").status_code == 200


def test_it_starts_again_on_what_it_left(tmp_path) -> None:
    with serve(tmp_path) as server:
        movie = {"id": "tt0041959", "title": "The Third Man"}
        with server.client("editor", "movies:write") as client:
            assert client.post("/movies", json=movie).status_code == 201
        with server.client("you") as client:
            rated = client.post("/movies/tt0041959/users/rate", json={"rate": 9})
            assert rated.status_code == 200
        server.kill()
        server.start()
        with server.client("you") as client:
            assert client.get("/movies/tt0041959/users/rate").json() == rated.json()
