// The page's copy of the facts, and the effects bus: a listener hears each confirmed change once, as it arrives.
import type { FeedMessage, LinkState } from './feed';
import { SILENCE_MS, stepsBetween, withEvent, withTick } from './reduce';
import { sharedPort } from './shared';
import type { RealmEvent, Snapshot } from './types';

declare const __BUILD__: string;
export const BUILD: string = __BUILD__;

type TickListener = (gained: number, before: Snapshot, after: Snapshot) => void;
type EventListener = (event: RealmEvent, late: boolean) => void;

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

  #ticks = new Set<TickListener>();
  #events = new Set<EventListener>();
  #seen = 0;

  onTick(listener: TickListener): () => void {
    this.#ticks.add(listener);
    return () => this.#ticks.delete(listener);
  }

  onEvent(listener: EventListener): () => void {
    this.#events.add(listener);
    return () => this.#events.delete(listener);
  }

  take(message: FeedMessage): void {
    if (message.type !== 'link') {
      this.lastWord = Math.max(this.lastWord, message.at);
      this.now = Math.max(this.now, Date.now());
    }
    if (message.type === 'snapshot') this.snapshot = message.snapshot;
    else if (message.type === 'tick') this.#tick(message);
    else if (message.type === 'event') this.#event(message);
    else if (message.type === 'link') {
      this.link = message.link;
      this.linkReason = message.reason;
      this.retryAt = message.retryAt;
    }
  }

  #tick(message: Extract<FeedMessage, { type: 'tick' }>): void {
    const before = this.snapshot;
    if (!before) return;
    const after = withTick(before, message.tick);
    if (after === before) return;
    this.snapshot = after;
    const gained = stepsBetween(before, after);
    if (!document.hidden) for (const listener of this.#ticks) listener(gained, before, after);
  }

  #event({ event, late }: Extract<FeedMessage, { type: 'event' }>): void {
    if (this.snapshot) this.snapshot = withEvent(this.snapshot, event);
    if (event.seq <= this.#seen) return;
    this.#seen = event.seq;
    for (const listener of this.#events) listener(event, late);
  }
}

export const realm = new RealmState();

/** Without shared workers the page holds the stream itself, and lets it go while it is hidden. */
async function ownFeed(): Promise<void> {
  const { Feed } = await import('./feed');
  const feed = new Feed((message) => realm.take(message));
  const follow = () => (document.hidden ? feed.stop() : feed.resync());
  document.addEventListener('visibilitychange', follow);
  follow();
}

function sharedFeed(port: MessagePort): void {
  port.onmessage = (sent: MessageEvent<FeedMessage>) => realm.take(sent.data);
  const say = (type: 'hello' | 'show' | 'hide' | 'bye') => port.postMessage({ type });
  document.addEventListener('visibilitychange', () => say(document.hidden ? 'hide' : 'show'));
  addEventListener('pagehide', () => say('bye'));
  addEventListener('pageshow', (event) => event.persisted && say('show'));
  say(document.hidden ? 'hide' : 'hello');
}

/** Connects this page once; the clock that ages values stands still while the page is hidden. */
export function connect(): void {
  const port = sharedPort(() => void ownFeed());
  if (port) sharedFeed(port);
  else void ownFeed();
  setInterval(() => {
    if (!document.hidden) realm.now = Date.now();
  }, 1_000);
}
