// What arrives between two ticks is shown with the next one; what is awaited is shown at once.
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import type { FeedMessage } from '../src/data/feed';
import { BEAT_MS, together } from '../src/data/together';
import { event, snapshot } from './facts';

const facts = (): FeedMessage => ({ type: 'snapshot', snapshot: snapshot(), fresh: false, at: 0 });
const tick = { type: 'tick', tick: {}, at: 0 } as FeedMessage;
const events = (seq: number): FeedMessage => ({ type: 'events', events: [event(seq, 'queue.low')], liveFrom: 0, at: 0 });
const link: FeedMessage = { type: 'link', link: 'reconnecting', reason: '', retryAt: null, at: 0 };
let shown: string[];
let acted = -Infinity;
let hidden = false;
let hear: (message: FeedMessage) => void;

beforeEach(() => {
  vi.useFakeTimers({ now: 1_000_000 });
  [shown, acted, hidden] = [[], -Infinity, false];
  hear = together((message) => shown.push(message.type), { now: Date.now, acted: () => acted, hidden: () => hidden });
});
afterEach(() => vi.useRealTimers());

it('shows the first state and events without a battle at once', () => {
  hear(facts());
  hear(events(1));
  expect(shown).toEqual(['snapshot', 'events']);
});

it('holds events and states for the tick that follows, in their order', () => {
  hear(facts());
  hear(tick);
  hear(events(1));
  hear(facts());
  expect(shown).toEqual(['snapshot', 'tick']);
  hear(tick);
  expect(shown).toEqual(['snapshot', 'tick', 'events', 'snapshot', 'tick']);
});

it('holds nothing longer than a beat, when the ticks end', () => {
  hear(facts());
  hear(tick);
  hear(events(1));
  vi.advanceTimersByTime(BEAT_MS);
  expect(shown.at(-1)).toBe('events');
  hear(events(2));
  expect(shown.slice(-2)).toEqual(['events', 'events']);
});

it('answers somebody who acts, a hidden page and a lost link at once', () => {
  for (const say of [() => (acted = Date.now()), () => (hidden = true)]) {
    [acted, hidden, shown] = [-Infinity, false, []];
    hear(facts());
    hear(tick);
    say();
    hear(events(1));
    expect(shown.at(-1)).toBe('events');
  }
  [acted, hidden] = [-Infinity, false];
  hear(tick);
  hear(events(2));
  hear(link);
  expect(shown.slice(-3)).toEqual(['tick', 'events', 'link']);
});
