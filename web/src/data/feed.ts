// The one link to the server: snapshot, then the events after its cursor, for ever. Runs in the shared worker,
// or in the page where shared workers do not exist. It decides nothing about display.
import { changesState, SILENCE_MS, withEvent, withTick } from './reduce';
import { readStream, type StreamMessage } from './sse';
import type { RealmEvent, Snapshot, Tick } from './types';

export type LinkState = 'connecting' | 'live' | 'reconnecting';

export type FeedMessage =
  | { type: 'snapshot'; snapshot: Snapshot; at: number }
  | { type: 'tick'; tick: Tick; at: number }
  | { type: 'event'; event: RealmEvent; late: boolean; at: number }
  | { type: 'link'; link: LinkState; reason: string; retryAt: number | null; at: number }
  | { type: 'word'; at: number };

export const FIRST_WAIT_MS = 1_000;
export const LONGEST_WAIT_MS = 30_000;
const REFETCH_MS = 1_000;
const CATCH_UP_MS = 60_000;

/** Wait before try number n (0 first): 1 s doubled up to 30 s, plus up to a quarter so that clients spread out. */
export function waitBefore(attempt: number, random: () => number): number {
  const base = Math.min(FIRST_WAIT_MS * 2 ** attempt, LONGEST_WAIT_MS);
  return Math.round(base * (1 + random() * 0.25));
}

export class Feed {
  #state: Snapshot | null = null;
  #link: Extract<FeedMessage, { type: 'link' }> = { type: 'link', link: 'connecting', reason: '', retryAt: null, at: 0 };
  #lastWord = 0;
  #attempt = 0;
  #abort: AbortController | null = null;
  #wake: (() => void) | null = null;
  #run = 0; // number of the running loop, 0 when stopped
  #runs = 0;
  #refetchTimer: ReturnType<typeof setTimeout> | null = null;
  #lastFetch = 0;
  #liveFrom = 0;

  constructor(private readonly emit: (message: FeedMessage) => void) {}

  /** Everything a newly opened page needs at once. */
  greeting(): FeedMessage[] {
    const out: FeedMessage[] = [this.#link];
    if (this.#state) out.unshift({ type: 'snapshot', snapshot: this.#state, at: this.#lastWord });
    return out;
  }

  start(): void {
    if (this.#run !== 0) return;
    this.#run = ++this.#runs;
    void this.#loop(this.#run);
  }

  stop(): void {
    this.#run = 0;
    this.#abort?.abort();
    this.#wake?.();
  }

  /** A page came back into view: ask for the whole state, and do not sit out a long wait. */
  resync(): void {
    if (this.#run === 0) this.start();
    else if (this.#link.link === 'live') this.#refetchSoon();
    else this.#wake?.();
  }

  async #loop(run: number): Promise<void> {
    while (this.#run === run) {
      let reason = 'The stream ended.';
      try {
        await this.#follow();
      } catch (error) {
        reason = error instanceof Error ? error.message : String(error);
      }
      if (this.#run !== run) return;
      const wait = waitBefore(this.#attempt++, Math.random);
      this.#say('reconnecting', reason, Date.now() + wait);
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, wait);
        this.#wake = () => (clearTimeout(timer), resolve());
      });
    }
  }

  async #follow(): Promise<void> {
    const silentFor = Date.now() - this.#lastWord;
    const known = this.#state?.cursor ?? null;
    this.#abort = new AbortController();
    const signal = this.#abort.signal;
    const snapshot = await this.#fetchSnapshot(AbortSignal.any([signal, AbortSignal.timeout(10_000)]));
    this.#liveFrom = snapshot.cursor;
    const missed = known !== null && known <= snapshot.cursor && silentFor < CATCH_UP_MS;
    const after = missed ? known : snapshot.cursor;
    const silence = setInterval(() => {
      if (Date.now() - this.#lastWord > SILENCE_MS) this.#abort?.abort(new Error('No word for 45 s.'));
    }, 5_000);
    try {
      await readStream(`/api/events?after=${after}`, after, signal, (message) => this.#take(message));
    } finally {
      clearInterval(silence);
    }
  }

  async #fetchSnapshot(signal: AbortSignal): Promise<Snapshot> {
    this.#lastFetch = Date.now();
    const response = await fetch('/api/snapshot', { cache: 'no-store', signal });
    if (!response.ok) throw new Error(`The snapshot answered ${response.status}.`);
    const snapshot = (await response.json()) as Snapshot;
    this.#state = snapshot;
    this.#lastWord = Date.now();
    this.emit({ type: 'snapshot', snapshot, at: this.#lastWord });
    return snapshot;
  }

  #take(message: StreamMessage): void {
    this.#lastWord = Date.now();
    if (this.#link.link !== 'live') {
      this.#attempt = 0;
      this.#say('live', '', null);
    }
    if (message.event === 'comment') this.emit({ type: 'word', at: this.#lastWord });
    else if (message.event === 'tick') this.#takeTick(JSON.parse(message.data) as Tick);
    else if (message.event === 'event') this.#takeEvent(JSON.parse(message.data) as RealmEvent);
  }

  #takeTick(tick: Tick): void {
    if (this.#state) this.#state = withTick(this.#state, tick);
    this.emit({ type: 'tick', tick, at: this.#lastWord });
  }

  #takeEvent(event: RealmEvent): void {
    const late = event.seq <= this.#liveFrom;
    if (this.#state) this.#state = withEvent(this.#state, event);
    this.emit({ type: 'event', event, late, at: this.#lastWord });
    if (!late && changesState(event.kind)) this.#refetchSoon();
  }

  #refetchSoon(): void {
    if (this.#refetchTimer !== null) return;
    const wait = Math.max(150, this.#lastFetch + REFETCH_MS - Date.now());
    this.#refetchTimer = setTimeout(() => {
      this.#refetchTimer = null;
      if (this.#run === 0 || this.#link.link !== 'live') return;
      this.#fetchSnapshot(AbortSignal.timeout(10_000)).catch((error: unknown) => {
        this.#abort?.abort(error instanceof Error ? error : new Error(String(error)));
      });
    }, wait);
  }

  #say(link: LinkState, reason: string, retryAt: number | null): void {
    this.#link = { type: 'link', link, reason, retryAt, at: Date.now() };
    this.emit(this.#link);
  }
}
