"""One sentence of plain fact for an event: for chart markers, the away summary and the terminal."""

from __future__ import annotations

from realm.core.events import Event

_PLAIN = {
    "queue.added": "quest {subject} was added",
    "queue.rejected": "file {subject} was refused",
    "queue.completed": "quest {subject} is complete",
    "queue.failed": "quest {subject} failed",
    "battle.failed": "the battle stopped with an error",
    "battle.loss_spike": "the loss jumped",
    "hero.level_up": "level up",
    "hero.champion": "{subject} is the new champion",
    "skill.mastered": "{subject} mastered a level",
    "skill.set_aside": "skill {subject} is set aside",
    "skill.returned": "skill {subject} takes part again",
    "skill.rusty": "{subject} fell below its level",
    "school.started": "a school began with {subject}",
    "school.finished": "a school ended with {subject}",
    "service.fallen": "service {subject} fell and is no longer restarted",
    "service.down": "service {subject} is down",
    "patrol.failed": "a health check failed",
}


def sentence(event: Event) -> str:
    """Return what happened, with the step and the recorded reason where there are any."""
    data = event["data"]
    name = str(data.get("name") or event["subject"])
    if event["kind"] == "skill.mastered" and "level" in data:
        text = f"{data.get('skill', name)} level {data['level']} is mastered"
    elif event["kind"] == "hero.level_up" and "level" in data:
        text = f"level {data['level']}"
    else:
        text = _PLAIN.get(event["kind"], event["kind"].replace(".", " ") + " {subject}").replace("{subject}", name)
    reason = data.get("reason")
    return text.strip() + (f": {reason}" if isinstance(reason, str) and reason else "")
