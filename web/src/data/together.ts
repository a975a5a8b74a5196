// A picture costs more than a message: while ticks come, what arrives between two of them is shown together with the next one.
import type { FeedMessage } from './feed';

/** So long after a tick the next one is still expected, and so long is anything held back at most. */
export const BEAT_MS = 1_300;
/** Somebody who has just done something sees the answer at once. */
export const ANSWER_MS = 3_000;

interface Surroundings {
  now: () => number;
  /** When the person last pressed a key or a button. */
  acted: () => number;
  hidden: () => boolean;
}

/** Hands messages on in their order: a tick with all that waited for it, other things at once where no tick is expected. */
export function together(take: (message: FeedMessage) => void, around: Surroundings): (message: FeedMessage) => void {
  let waiting: FeedMessage[] = [];
  let beat = -Infinity;
  let begun = false;
  let timer: ReturnType<typeof setTimeout> | undefined;

  function release(): void {
    clearTimeout(timer);
    timer = undefined;
    const held = waiting;
    waiting = [];
    for (const message of held) take(message);
  }
  const waits = (message: FeedMessage): boolean => {
    const now = around.now();
    return begun && (message.type === 'events' || message.type === 'snapshot') && now - beat < BEAT_MS && now - around.acted() > ANSWER_MS && !around.hidden();
  };

  return (message) => {
    waiting.push(message);
    if (message.type === 'tick') beat = around.now();
    begun ||= message.type === 'snapshot';
    if (message.type === 'tick' || !waits(message)) release();
    else timer ??= setTimeout(release, BEAT_MS);
  };
}
