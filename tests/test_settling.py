"""What a web process does when it starts."""

import gc

from tests.test_gather import in_a_loop


def test_the_collector_does_not_go_through_what_was_imported(monkeypatch):
    from aktivat import asgi

    started, waiting = [], [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]
    monkeypatch.setattr(asgi.sampler, "start", lambda: started.append("sampler"))
    kept = [[] for _ in range(10_000)]
    before, answers = gc.get_freeze_count(), []

    async def receive():
        return waiting.pop(0)

    async def send(message):
        answers.append(message["type"])

    in_a_loop(asgi.application({"type": "lifespan"}, receive, send))
    assert answers == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    assert started == ["sampler"]
    assert gc.get_freeze_count() >= before + len(kept)
