"""The champion school: GRPO on a skill's own score, for a hero that already solves part of a level (extra `[schools]`).

TRL's GRPOTrainer draws groups of answers and computes the loss; prompts are rendered and answers ended by the hero's own
template. The school begins from the weights that are served (the average, where there is one), and the average follows over
its last steps. Nothing is written before the end; then one checkpoint, by the saver of every battle.
"""

from __future__ import annotations

import math
import os
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from typing import Any

import torch

from realm.arena.entering import Arena
from realm.arena.optim.flat import norm_of
from realm.arena.optim.optimiser import Optimiser
from realm.arena.saves import note_save, snapshot
from realm.arena.school_lessons import (
    SPARE_TOKENS,
    Course,
    Lessons,
    Report,
    flat_groups,
    refuse_not_finite,
    refuse_unfit,
)
from realm.arena.stepper import NonFinite, Stepper
from realm.armory.config import Config
from realm.armory.heroes import load_tokenizer
from realm.armory.template import ChatTemplate, Message, dated
from realm.core.daemon import StopFlag
from realm.core.errors import BadInput, RealmError, Unavailable
from realm.core.seeds import derive_seed
from realm.guild.skill_client import Sample, SkillSource
from realm.vault.ledger import SCHOOL, extract_step

MOST_MICRO = 16  # answers of one forward pass
AVERAGED = 3  # the average is over about one in three of the steps taken so far
AT_ONCE = 128  # problems of an exam that are answered together
# Read by TRL and the hub's client as they are imported: nothing is sent anywhere.
QUIET = {"HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_OFFLINE": "1", "TRL_EXPERIMENTAL_SILENCE": "1"}


class Stopped(RealmError):
    """The school was asked to stop before its end; nothing was saved."""

    code = "stopped"


def require() -> None:
    """Raise Unavailable saying what to install when TRL is not there."""
    if find_spec("trl") is None:
        raise Unavailable("the champion school needs the package trl", hint="pip install 'realm-of-training[schools]'")
    os.environ.update(QUIET)


def refuse_config(config: Config) -> None:
    """Raise BadInput for settings that the school does not train with."""
    training = config.training
    if training.adapter.kind != "none":
        raise BadInput(f"the champion school trains whole heroes, config.json has the adapter {training.adapter.kind}",
                       hint="a line with an adapter is trained by battles only")  # fmt: skip
    if "WORLD_SIZE" in os.environ or (config.engine != "local" and config.parallel.processes > 1):
        raise BadInput("the champion school runs in one process", hint="realm config set engine local")
    if config.profile != "none":
        raise BadInput(f"the champion school asks plain problems, config.json has the profile {config.profile}",
                       hint="realm config set profile none")  # fmt: skip
    if training.precision == "fp16":
        raise BadInput("the champion school does not train in fp16", hint="realm config set training.precision auto")


class Pupil:
    """A model that answers by the hero's own template: greedy at temperature 0, else drawn from torch's generator."""

    def __init__(self, model: Any, template: ChatTemplate, mantra: str | None, most: int) -> None:
        self.model, self.template, self.mantra, self.most = model, template, mantra, most

    def prompts(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the token ids of prompts; raises BadInput for one that leaves no room for an answer."""
        rows: list[list[Message]] = [[{"role": "user", "content": text}] for text in texts]
        found = [one.ids for one in self.template.render_many(rows, add_generation_prompt=True, mantra=self.mantra)]
        room = int(self.model.config.max_position_embeddings) - self.most
        if max(map(len, found)) > room:
            raise BadInput(f"a prompt of {max(map(len, found))} tokens leaves no room for {self.most} more",
                           hint="name a lower level with --level")  # fmt: skip
        return found

    def say(self, prompts: Sequence[Sequence[int]], temperature: float) -> list[list[int]]:
        """Return the ids of each answer, its end token included where it came."""
        from transformers import GenerationConfig

        drawn = {"do_sample": True, "temperature": temperature, "top_k": 0, "top_p": 1.0} if temperature else {"do_sample": False}
        how = GenerationConfig(max_new_tokens=self.most, eos_token_id=self.template.end_id, pad_token_id=self.template.pad_id,
                               use_cache=True, disable_compile=True, **drawn)  # fmt: skip
        width, device = max(map(len, prompts)), self.model.device
        ids = torch.tensor([[self.template.pad_id] * (width - len(one)) + list(one) for one in prompts], device=device)
        mask = torch.tensor([[0] * (width - len(one)) + [1] * len(one) for one in prompts], device=device)
        was = self.model.training
        self.model.eval()
        with torch.no_grad():
            found = self.model.generate(input_ids=ids, attention_mask=mask, generation_config=how)[:, width:].tolist()
        self.model.train(was)
        return [self._ended(one) for one in found]

    def _ended(self, ids: list[int]) -> list[int]:
        return ids[: ids.index(self.template.end_id) + 1] if self.template.end_id in ids else ids

    def text(self, ids: Sequence[int]) -> str:
        """Return an answer as the skill reads it."""
        return self.template.decode([one for one in ids if one != self.template.end_id])

    def answers(self, items: Sequence[Sample], temperature: float = 0.0) -> list[str]:
        """Answer problems."""
        prompts = self.prompts([str(item["user_prompt"]) for item in items])
        parts = [self.say(prompts[at : at + AT_ONCE], temperature) for at in range(0, len(prompts), AT_ONCE)]
        return [self.text(ids) for part in parts for ids in part]


class SchoolAdamW(torch.optim.AdamW):
    """AdamW of the school's own on every weight, in place: Muon gives the noise of few rewards the size of a full step.

    The hero's optimiser counts the steps, its moments stay as they were; its average follows over the last third of the
    steps taken.
    """

    def __init__(self, own: Optimiser, model: torch.nn.Module, rate: float) -> None:
        self.taken = 0
        self.own, self.weights = own, [weight for weight in model.parameters() if weight.requires_grad]
        super().__init__(self.weights, lr=own.training.learning_rate * rate, betas=own.training.betas, weight_decay=0.0)

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Take one step; raises NonFinite before any weight changes."""
        norm = norm_of(weight.grad for weight in self.weights if weight.grad is not None)
        if not math.isfinite(norm):
            raise NonFinite(f"step {self.own.steps + 1}: gradient norm {norm} in the school",
                            hint="nothing was saved; a lower --rate helps")  # fmt: skip
        super().step()
        self.own.set_steps(self.own.steps + 1)
        self.taken += 1
        decay = min(self.own.training.ema_decay or 0.0, self.taken / (self.taken + AVERAGED))
        for buffer, average in zip(self.own.buffers, self.own.average, strict=False):
            average.lerp_(buffer.weights, 1 - decay)


@dataclass
class Taught:
    """What the lessons were, counted while they were given."""

    rewards: list[float] = field(default_factory=list)  # the mean of each step
    flat: int = 0
    tokens: int = 0
    trained: int = 0
    answers: int = 0

    def note(self, rewards: Sequence[float], samples: int) -> None:
        refuse_not_finite(rewards)
        self.rewards.append(sum(rewards) / len(rewards))
        self.flat += flat_groups(rewards, samples)
        self.answers += len(rewards)


Reward = Callable[[Sequence[Sample], Sequence[str]], list[float]]
Teach = Callable[[Stepper, Pupil, Any, Sequence[Sample], Course, Reward, Callable[[int], None]], Taught]


def micro_of(answers: int) -> int:
    """Return how many answers of a step go through the model together: the most that divide it evenly."""
    return max(part for part in range(1, MOST_MICRO + 1) if answers % part == 0)


def teach_by_trl(
    stepper: Stepper, pupil: Pupil, tokenizer: Any, items: Sequence[Sample], course: Course, reward: Reward,
    beat: Callable[[int], None],
) -> Taught:  # fmt: skip
    """Train the stepper's model on `course.groups` of the items a step; the same seed gives the same weights on a CPU."""
    require()
    from datasets import Dataset
    from transformers import PrinterCallback
    from trl import GRPOConfig, GRPOTrainer

    class Trainer(GRPOTrainer):  # type: ignore[misc]
        def _send_telemetry(self) -> None:
            """Nothing is sent."""

    done, own = Taught(), SchoolAdamW(stepper.optimiser, stepper.model, course.rate)

    def roll(prompts: Sequence[str], _trainer: Any) -> dict[str, Any]:
        beat(len(done.rewards))
        asked = pupil.prompts(prompts)
        said = pupil.say(asked, course.temperature)
        done.tokens += sum(map(len, asked)) + sum(map(len, said))
        done.trained += sum(len(one) for one in said if one[-1] == pupil.template.end_id)
        return {"prompt_ids": asked, "completion_ids": said, "logprobs": None}

    def score(completion_ids: Sequence[Sequence[int]], number: Sequence[int], **_: Any) -> list[float]:
        found = reward([items[at] for at in number], [pupil.text(ids) for ids in completion_ids])
        done.note(found, course.samples)
        return found

    answers = course.groups * course.samples
    with tempfile.TemporaryDirectory(prefix="realm-school-") as scratch, warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of transformers, about names that TRL uses
        args = GRPOConfig(
            output_dir=scratch, use_cpu=stepper.device.type == "cpu", bf16=stepper.training.precision == "bf16",
            max_steps=course.steps, per_device_train_batch_size=micro_of(answers),
            gradient_accumulation_steps=answers // micro_of(answers), num_generations=course.samples,
            max_completion_length=pupil.most, temperature=course.temperature, beta=0.0, loss_type="dapo", scale_rewards="group",
            mask_truncated_completions=True, shuffle_dataset=False, max_grad_norm=stepper.training.clip,
            lr_scheduler_type="constant", gradient_checkpointing=stepper.training.gradient_checkpointing,
            seed=derive_seed("school", "answers", stepper.optimiser.steps, course.seed) % 2**31,
            report_to="none", logging_strategy="no", save_strategy="no", disable_tqdm=True,
        )  # fmt: skip
        asked = Dataset.from_dict({"prompt": [str(item["user_prompt"]) for item in items], "number": list(range(len(items)))})
        trainer = Trainer(model=stepper.model, reward_funcs=[score], args=args, train_dataset=asked, processing_class=tokenizer,
                          optimizers=(own, None), rollout_func=roll)  # fmt: skip
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    return done


def tokenizer_of(arena: Arena) -> Any:
    """Return the hero's tokenizer as TRL takes one: it only says what ends an answer and what fills a row."""
    from transformers import PreTrainedTokenizerFast

    tokenizer = load_tokenizer(arena.hero)
    ends = {"eos_token": arena.template.end_id, "pad_token": arena.template.pad_id}
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **{name: tokenizer.id_to_token(one) for name, one in ends.items()})


def hold(
    arena: Arena, course: Course, source: SkillSource, styles: Mapping[str, float] | None, stop: StopFlag, *,
    examined: Mapping[str, float] | None = None, teach: Teach = teach_by_trl, say: Callable[[str], None] = lambda _line: None,
) -> Report:  # fmt: skip
    """Hold a school from the weights an arena has entered with and save its checkpoint.

    Raises Conflict when the hero solves too little or too much, Stopped, NonFinite, Corrupt and what the skill raises; then
    nothing was saved.
    """
    lessons, begin = Lessons(source, course, styles, arena.step, examined), arena.clock.monotonic()
    items = lessons.training("stream", course.groups * course.steps)
    entrance, held = lessons.training("entrance", course.asked), lessons.held_out(course.asked)
    pupil = _pupil(arena, [*items, *entrance, *held])
    _average_to_weights(arena.stepper.optimiser)
    with _told(arena, course) as told:
        arena.progress.state("training", f"school: {course.title}; the entrance exam")
        torch.manual_seed(derive_seed("school", "entrance", arena.step, course.seed) % 2**31)
        first = lessons.marks(entrance, lambda asked: pupil.answers(asked, course.temperature))
        say(f"entrance, answers drawn: {first.text()}")
        refuse_unfit(first, course)
        before = lessons.marks(held, pupil.answers)
        say(f"before, held-out problems: {before.text()}")
        told |= {"entrance": vars(first), "before": vars(before)}
        event = {**_named(course), "steps": course.steps, "seed": str(course.seed), **told}
        arena.progress.event("school.started", subject=arena.parent or arena.hero.id, step=arena.step, data=event)
        taught = _lead(arena, pupil, items, course, lessons.reward, stop, teach, say)
        with arena.stepper.served():
            after = lessons.marks(held, pupil.answers)
        say(f"after, the same problems: {after.text()}")
        told |= {"after": vars(after), "groups": course.groups * course.steps, "flat_groups": taught.flat}
        seconds = arena.clock.monotonic() - begin
        _count(arena, taught, seconds)
        told["name"] = _save(arena, course)
    return Report(course, first, before, after, tuple(taught.rewards), taught.flat, taught.tokens, seconds, told["name"])


def _pupil(arena: Arena, items: Sequence[Sample]) -> Pupil:
    model: Any = arena.stepper.model
    if arena.stepper.attention != "sdpa":
        model.set_attn_implementation("sdpa")  # rows of the school are padded
    golden = arena.template.encode_contents([str(item["assistant_response"]) for item in items])
    mantra = dated(arena.hero.mantra, f"{arena.clock.now():%Y-%m-%d}")
    return Pupil(model, arena.template, mantra, max(map(len, golden)) + SPARE_TOKENS)


def _named(course: Course) -> dict[str, Any]:
    return {"school": "champion", "skill": course.skill, "level": course.level}


@contextmanager
def _told(arena: Arena, course: Course) -> Iterator[dict[str, Any]]:
    """Tell how a school ended: with its checkpoint, or with the reason why nothing was saved."""
    told: dict[str, Any] = {}
    try:
        yield told
    except RealmError as error:
        if told:
            data = {**_named(course), **told, "reason": error.message}
            arena.progress.event("school.finished", subject=arena.parent or arena.hero.id, step=arena.saved_step, data=data)
        arena.progress.state("idle", f"the school ended: {error.message}")
        raise
    arena.progress.event("school.finished", subject=told["name"], step=arena.step, data={**_named(course), **told})
    arena.progress.state("idle", "the school has ended")


def _lead(
    arena: Arena, pupil: Pupil, items: Sequence[Sample], course: Course, reward: Reward, stop: StopFlag, teach: Teach,
    say: Callable[[str], None],
) -> Taught:  # fmt: skip
    """Give the lessons."""
    first, spoke = arena.step, max(1, course.steps // 10)

    def beat(step: int) -> None:
        if stop.is_set():
            raise Stopped(f"stopped before step {step + 1} of {course.steps}", hint="nothing was saved")
        if step % spoke == 0:
            say(f"step {step + 1} of {course.steps}")
        arena.progress.status.update(state="training", state_reason=f"school: {course.title}; step {step + 1}", step=first + step)
        arena.progress.publish()

    taught = teach(arena.stepper, pupil, tokenizer_of(arena), items, course, reward, beat)
    _bind_gradients(arena.stepper)
    if arena.step != first + course.steps:
        raise BadInput(f"the school took {arena.step - first} steps, asked were {course.steps}")
    return taught


def _bind_gradients(stepper: Stepper) -> None:
    """Make the gradients views of the hero's optimiser again: a trainer drops them after each step."""
    weights = dict(stepper.model.named_parameters())
    for buffer in stepper.optimiser.buffers:
        for name, view in buffer.views(buffer.grads).items():
            weights[name].grad = view


def _average_to_weights(own: Optimiser) -> None:
    for buffer, average in zip(own.buffers, own.average, strict=False):
        buffer.weights.copy_(average)


def _count(arena: Arena, taught: Taught, seconds: float) -> None:
    arena.totals.tokens += taught.tokens
    arena.totals.trained_tokens += taught.trained
    arena.totals.seconds += seconds
    arena.totals.rows += taught.answers


def _save(arena: Arena, course: Course) -> str:
    """Save the one checkpoint of a school as any other is saved; no loss was measured for it."""
    taken = snapshot(arena)
    rate = arena.stepper.training.learning_rate * course.rate
    about = {"train_loss": None, "val_loss": None, "val_set": None, "learning_rate": rate, "skill_name": course.skill,
             "skill_level": course.level, "training_file": f"{SCHOOL}{course.title}"}  # fmt: skip
    arena.saver.start(replace(taken, record={**taken.record, **about}))
    outcome = arena.saver.wait()
    note_save(arena, outcome)
    if arena.save_error is not None:
        raise arena.save_error
    arena.saver.show_all()
    assert arena.parent is not None
    assert extract_step(arena.parent) == arena.step
    return arena.parent
