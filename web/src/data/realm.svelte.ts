// The page's copy of the facts, and the effects bus: a listener hears each confirmed change once, as it arrives.
import type { FeedMessage, LinkState } from './feed';
import { SILENCE_MS, stepsBetween, withEvent, withTick } from './reduce';
import { sharedPort } from './shared';
import { together } from './together';
import type { RealmEvent, Snapshot } from './types';

declare const __BUILD__: string;
export const BUILD: string = __BUILD__;

type TickListener = (gained: number, before: Snapshot, after: Snapshot) => void;
type EventListener = (event: RealmEvent, late: boolean) => void;
type Heard = Extract<FeedMessage, { type: 'events' }>;
type Link = Extract<FeedMessage, { type: 'link' }>;

class RealmState {
  snapshot = $state.raw<Snapshot | null>(null);
  link = $state<LinkState>('connecting');
  linkReason = $state('');
  retryAt = $state<number | null>(null);
  lastWord = $state(0);
  openedAt = Date.now();
  now = $state(Date.now());

  /** Seconds since the server was last heard, null before the first word. */
  age = $derived(this.lastWord === 0 ? null : Math.max(0, (this.now - this.lastWord) / 1000));
  stale = $derived(this.age !== null && this.age * 1000 > SILENCE_MS);
  rebuilt = $derived(!!this.snapshot?.build && this.snapshot.build !== BUILD);

  /** Counts how often everything had to begin anew: another log, or more missed than can be caught up. */
  epoch = $state(0);

  #ticks = new Set<TickListener>();
  #events = new Set<EventListener>();
  #watchers = new Set<EventListener>();
  // What came while nobody looked: a hidden page draws nothing.
  #held: Heard[] = [];
  #hidden: { snapshot?: Snapshot; anew?: boolean; link?: Link; lastWord?: number } = {};
  #seen = 0;

  /** The newest confirmed state, which a hidden page holds back until it is seen. */
  get newest(): Snapshot | null {
    return this.#hidden.snapshot ?? this.snapshot;
  }

  onTick(listener: TickListener): () => void {
    this.#ticks.add(listener);
    return () => this.#ticks.delete(listener);
  }

  onEvent(listener: EventListener): () => void {
    this.#events.add(listener);
    return () => this.#events.delete(listener);
  }

  /** Hears every live event once, and at once also while the page is hidden. */
  onWatch(listener: EventListener): void {
    this.#watchers.add(listener);
  }

  take(message: FeedMessage): void {
    if (message.type === 'snapshot') this.#whole(message);
    else if (message.type === 'tick') this.#tick(message);
    else if (message.type === 'events') this.#take(message);
    else if (message.type === 'link') this.#hidden.link = message;
    if (message.type !== 'link') this.#hidden.lastWord = Math.max(this.lastWord, this.#hidden.lastWord ?? 0, message.at);
    if (document.hidden) return;
    if (message.type !== 'link') this.now = Math.max(this.now, Date.now());
    this.#show();
  }

  /** Puts what was held back in its place. */
  #show(): void {
    const { snapshot, anew, link, lastWord } = this.#hidden;
    this.#hidden = {};
    this.lastWord = lastWord ?? this.lastWord;
    this.snapshot = snapshot ?? this.snapshot;
    if (anew) this.epoch += 1;
    if (!link) return;
    this.link = link.link;
    this.linkReason = link.reason;
    this.retryAt = link.retryAt;
  }

  #tick(message: Extract<FeedMessage, { type: 'tick' }>): void {
    const before = this.snapshot;
    if (!before || document.hidden) return;
    const after = withTick(before, message.tick);
    if (after === before) return;
    this.snapshot = after;
    const gained = stepsBetween(before, after);
    for (const listener of this.#ticks) listener(gained, before, after);
  }

  #whole({ snapshot, fresh }: Extract<FeedMessage, { type: 'snapshot' }>): void {
    if (fresh || this.newest === null) {
      this.#seen = snapshot.cursor;
      this.#held = [];
    }
    this.#hidden.snapshot = snapshot;
    this.#hidden.anew ||= fresh;
  }

  #take(heard: Heard): void {
    const events = heard.events.filter((event) => event.seq > this.#seen);
    this.#seen = events.at(-1)?.seq ?? this.#seen;
    for (const event of events) {
      if (event.seq > heard.liveFrom) for (const watch of this.#watchers) watch(event, false);
    }
    this.#held.push({ ...heard, events });
    if (!document.hidden) this.#release(false);
  }

  /** The page is seen again: what it missed comes as late, without a picture or a sound for each. */
  catchUp(): void {
    this.now = Date.now();
    this.#show();
    this.#release(true);
  }

  #release(late: boolean): void {
    const held = this.#held;
    this.#held = [];
    for (const { events, liveFrom } of held) {
      for (const event of events) {
        if (this.snapshot) this.snapshot = withEvent(this.snapshot, event);
        for (const listener of this.#events) listener(event, late || event.seq <= liveFrom);
        document.dispatchEvent(new CustomEvent('realm-event', { detail: event }));
      }
    }
  }
}

export const realm = new RealmState();

/** Without shared workers the page holds the stream itself, and lets it go while it is hidden. */
async function ownFeed(take: (message: FeedMessage) => void): Promise<void> {
  const { Feed } = await import('./feed');
  const feed = new Feed(take);
  const follow = () => (document.hidden ? feed.stop() : feed.resync());
  document.addEventListener('visibilitychange', follow);
  follow();
}

function sharedFeed(port: MessagePort, take: (message: FeedMessage) => void): void {
  port.onmessage = (sent: MessageEvent<FeedMessage>) => take(sent.data);
  const say = (type: 'hello' | 'show' | 'hide' | 'bye') => port.postMessage({ type });
  document.addEventListener('visibilitychange', () => say(document.hidden ? 'hide' : 'show'));
  addEventListener('pagehide', () => say('bye'));
  addEventListener('pageshow', (event) => event.persisted && say('show'));
  say(document.hidden ? 'hide' : 'hello');
}

/** Connects this page once; the clock that ages values stands still while the page is hidden. */
export function connect(): void {
  document.addEventListener('visibilitychange', () => !document.hidden && realm.catchUp());
  let acted = -Infinity;
  for (const kind of ['pointerdown', 'keydown']) addEventListener(kind, () => (acted = Date.now()), { capture: true, passive: true });
  const take = together((message) => realm.take(message), { now: Date.now, acted: () => acted, hidden: () => document.hidden });
  const port = sharedPort(() => void ownFeed(take));
  if (port) sharedFeed(port, take);
  else void ownFeed(take);
  // A tick brings the clock along; a second of its own would be a second picture.
  setInterval(() => {
    const now = Date.now();
    if (!document.hidden && now - realm.now > (now - realm.lastWord < 2_000 ? 1_500 : 900)) realm.now = now;
  }, 1_000);
}
