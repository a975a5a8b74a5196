"""The achievements over HTTP, and the follower that lives as long as the app."""

from __future__ import annotations

import threading

from fastapi.testclient import TestClient

from realm.core import events
from realm.core.paths import Paths
from realm.core.store import open_facts, transaction
from realm.core.web import make_app
from realm.guild.hall_routes import hall_router

PORT = 21888


def test_the_hall_is_served_and_followed_while_the_app_lives(empty_home: Paths) -> None:
    facts = open_facts(empty_home)
    with transaction(facts):
        events.append(facts, "queue.rejected", subject="Q1", data={"name": "bad.jsonl", "reason": "row 1"})
    facts.close()
    lived: list[str] = []

    def follower(paths: Paths, stop: threading.Event) -> None:
        lived.append(str(paths.home))
        stop.wait(10)
        lived.append("ended")

    app = make_app("tavern", [hall_router(empty_home, follower)], port=PORT)
    with TestClient(app, base_url=f"http://127.0.0.1:{PORT}") as client:
        shown = client.get("/api/achievements").json()
        assert lived == [str(empty_home.home)]
    assert lived[-1] == "ended"
    assert (shown["count"], shown["unlocked"], shown["hero"]["title"]) == (40, 0, "Squire")


def test_the_real_follower_writes_the_deed(empty_home: Paths) -> None:
    facts = open_facts(empty_home)
    with transaction(facts):
        events.append(facts, "queue.rejected", subject="Q1")
    app = make_app("tavern", [hall_router(empty_home)], port=PORT)
    with TestClient(app, base_url=f"http://127.0.0.1:{PORT}"):
        for _ in range(500):
            if events.latest(facts, 1, "achievement.unlocked"):
                break
            threading.Event().wait(0.01)
    [event] = events.latest(facts, 5, "achievement.unlocked")
    facts.close()
    assert event["subject"] == "gatekeeper"
