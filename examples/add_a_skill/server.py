"""A skill server in one file: rows of letters that are said backwards. Python's standard library is all it needs.

It speaks the protocol of ARCHITECTURE.md, Skill servers: GET /health /info /levels /eval?level=N, POST /generate /grade.
A problem of level N is a row of N + 1 letters; the row is its key, and the key decides the partition it belongs to.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import re
import string
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

SKILL, VERSION, LAST, STATIC = "backwards", "1.0.0", 6, 5
LETTERS = string.ascii_lowercase
MAX_COUNT, MAX_BODY = 20_000, 4 * 1024 * 1024
PROMPT = re.compile(r"Backwards: ([a-z](?: [a-z])*)")


class Wrong(Exception):
    """The request is wrong; the text says how."""


def partition(level: int, key: str) -> str:
    """Return where a problem belongs: the same formula for every skill, so that the realm can check it."""
    digest = hashlib.blake2b(f"{SKILL}|{level}|{key}".encode(), digest_size=8).digest()
    return "eval" if int.from_bytes(digest, "big") % 20 in (0, 1) else "train"


def sample(level: int, key: str, split: str, tags: list[str]) -> dict[str, Any]:
    return {"id": f"{SKILL}-{key}", "skill": SKILL, "version": VERSION, "level": level, "split": split, "key": key,
            "user_prompt": "Backwards: " + " ".join(key), "assistant_response": " ".join(reversed(key)), "tags": tags}


def generate(level: int, count: int, seed: int, split: str, avoid: frozenset[str] = frozenset()) -> list[dict[str, Any]]:
    """Return problems of one partition, none twice while there are others; equal arguments give equal problems."""
    rng, found, seen = random.Random(f"{SKILL}|{level}|{seed}|{split}"), [], set()
    wanted, misses = "train" if split == "train" else "eval", 0
    while len(found) < count:
        key = "".join(rng.choice(LETTERS) for _ in range(level + 1))
        if partition(level, key) != wanted or key in avoid:
            continue
        repeat = key in seen
        if repeat and misses < 1000:
            misses += 1
            continue
        misses = 0
        seen.add(key)
        found.append(sample(level, key, split, ["repeat"] if repeat else []))
    return found


def static_set(level: int) -> list[dict[str, Any]]:
    """Return the fixed eval problems of a level, which no other call gives out."""
    return generate(level, STATIC, 0, "eval")


def solve(prompt: str) -> str:
    found = PROMPT.fullmatch(prompt)
    if found is None:
        raise Wrong("the problem is not one of this skill: send the sample as /generate gave it")
    return " ".join(reversed(found[1].split(" ")))


def grade(problem: Any, answer: Any) -> dict[str, Any]:
    """Judge by the prompt alone: the answer is right when it is exactly the letters in reverse order."""
    if not isinstance(problem, dict) or not isinstance(problem.get("user_prompt"), str) or not isinstance(answer, str):
        raise Wrong("problem is a sample, answer a text")
    expected, parsed = solve(problem["user_prompt"]), answer.strip()
    right = parsed == expected
    return {"correct": right, "expected": expected, "parsed": parsed[:200],
            "reason": "right" if right else f"{expected!r} was expected"}


def number(given: Any, least: int, most: int, name: str) -> int:
    if type(given) is not int or not least <= given <= most:
        raise Wrong(f"{name} is {str(given)[:40]}: a number from {least} to {most} is needed")
    return given


def posed(body: dict[str, Any]) -> dict[str, Any]:
    level, count = number(body.get("level"), 1, LAST, "level"), number(body.get("count"), 1, MAX_COUNT, "count")
    split, seed = body.get("split", "train"), body.get("seed")
    if split not in ("train", "eval", "gate", "probe"):
        raise Wrong("split is train, eval, gate or probe")
    seed = random.randrange(2**63) if seed is None else number(seed, -(2**64), 2**64, "seed")
    avoid = frozenset() if split == "train" else frozenset(item["key"] for item in static_set(level))
    samples = generate(level, count, seed, split, avoid)
    repeats = sum("repeat" in item["tags"] for item in samples)
    return {"skill": SKILL, "level": level, "split": split, "seed": seed, "repeats": repeats, "samples": samples}


def answer_get(path: str, query: dict[str, list[str]]) -> dict[str, Any] | None:
    """Return what a GET is answered with, None for a path that does not exist."""
    if path == "/health":
        # The weaver knows its own start by this id.
        return {"status": "ok", "instance": os.environ.get("REALM_INSTANCE", ""), "pid": os.getpid()}
    if path == "/info":
        return {"skill": SKILL, "name": "Mirror Reading", "description": "A row of letters is said backwards",
                "version": VERSION, "min_level": 1, "max_level": LAST}
    if path == "/levels":
        rows = [{"level": n, "title": f"{n + 1} letters", "distinct": len(LETTERS) ** (n + 1)} for n in range(1, LAST + 1)]
        return {"skill": SKILL, "levels": rows}
    if path == "/eval":
        text = query.get("level", [""])[0]
        level = number(int(text) if text.isdecimal() and len(text) < 9 else text, 1, LAST, "level")
        return {"skill": SKILL, "level": level, "samples": static_set(level)}
    return None


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 30

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        self.tell(lambda: answer_get(url.path, parse_qs(url.query)))

    def do_POST(self) -> None:
        size = self.headers.get("content-length", "")
        if not size.isdecimal() or int(size) > MAX_BODY:
            self.close_connection = True
            return self.send(413, {"error": {"code": "bad_input", "message": f"a body of at most {MAX_BODY} bytes", "hint": ""}})
        text = self.rfile.read(int(size))
        return self.tell(lambda: self.answer_post(text))

    def answer_post(self, text: bytes) -> dict[str, Any] | None:
        try:
            body = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise Wrong("the body is not JSON") from error
        if not isinstance(body, dict):
            raise Wrong("the body is no object")
        if self.path == "/generate":
            return posed(body)
        return grade(body.get("problem"), body.get("answer")) if self.path == "/grade" else None

    def tell(self, work: Any) -> None:
        try:
            found = work()
        except Wrong as error:
            return self.send(400, {"error": {"code": "bad_input", "message": str(error), "hint": ""}})
        if found is None:
            return self.send(404, {"error": {"code": "unknown", "message": "no such path", "hint": ""}})
        return self.send(200, found)

    def send(self, status: int, body: dict[str, Any]) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        """Say nothing about requests."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=8095)
    server = ThreadingHTTPServer(("127.0.0.1", parser.parse_args().port), Handler)
    server.serve_forever()


if __name__ == "__main__":
    main()
