// What is said to people: toasts, the banner for grave things, and the two live regions (TAVERN 1.3, 4.1).
import { realm } from '../data/realm.svelte';
import { t } from '../i18n';
import type { RealmEvent } from '../data/types';
import { sentence, styleOf, type Tone } from '../text/events';
import type { CoreIcon } from '../generated/icons';

export interface Toast {
  id: number;
  text: string;
  icon: CoreIcon;
  tone: Tone;
  ms: number;
  action: { label: string; run: () => void } | null;
  /** Tells of an event, which the log and the bell tell as well: shown only where it covers nothing. */
  event?: boolean;
}

export interface Notice {
  id: number;
  text: string;
  icon: CoreIcon;
  tone: Tone;
  at: string;
}

const BATCH_MS = 30_000;
const SHOWN = 3;
const KEPT = 30;

/** The newest ones; what can still be undone is not pushed out by what only tells. */
function fewest(toasts: readonly Toast[]): Toast[] {
  const kept = [...toasts];
  while (kept.length > SHOWN) {
    const oldest = kept.findIndex((toast) => toast.action === null);
    kept.splice(Math.max(0, oldest), 1);
  }
  return kept;
}

class Announcer {
  toasts = $state<Toast[]>([]);
  notices = $state<Notice[]>([]);
  unread = $state(0);
  /** Unread ones of tiers 1 and 2, for the badges. */
  grave = $state(0);
  banner = $state<Notice | null>(null);
  polite = $state('');
  assertive = $state('');
  #waiting = new Map<string, { event: RealmEvent; more: number; quiet: boolean }>();
  #timer: ReturnType<typeof setTimeout> | null = null;
  #lastBatch = 0;
  #next = 1;

  /** A short message about something the person just did. */
  toast(text: string, options: Partial<Pick<Toast, 'icon' | 'tone' | 'ms' | 'action'>> = {}): void {
    const toast: Toast = {
      id: this.#next++, text, icon: options.icon ?? 'info', tone: options.tone ?? 'plain',
      ms: options.ms ?? 5_000, action: options.action ?? null,
    };
    this.toasts = fewest([...this.toasts, toast]);
    this.say(text);
  }

  dismiss(id: number): void {
    this.toasts = this.toasts.filter((toast) => toast.id !== id);
  }

  /** Where they would cover something, notices of events are left to the bell. */
  giveWay(): void {
    this.toasts = this.toasts.filter((toast) => !toast.event);
  }

  /** Spoken at once, for answers to the person's own action. */
  say(text: string): void {
    this.polite = this.polite === text ? `${text}\u00a0` : text;
  }

  /** Tier 3 comes in batches: the newest of each kind, joined into one sentence, at most one per 30 s. */
  #queue(event: RealmEvent, quiet: boolean): void {
    const before = this.#waiting.get(event.kind);
    this.#waiting.set(event.kind, { event, more: before ? before.more + 1 : 0, quiet });
    if (this.#timer !== null) return;
    const wait = Math.max(400, this.#lastBatch + BATCH_MS - Date.now());
    this.#timer = setTimeout(() => this.#flush(), wait);
  }

  #flush(): void {
    this.#timer = null;
    this.#lastBatch = Date.now();
    const batch = [...this.#waiting.values()];
    this.#waiting.clear();
    const text = batch.map(({ event, more }) => t('toast.more', { text: sentence(event), more: more || null })).join('. ');
    this.say(text);
    const shown = batch.find(({ quiet }) => !quiet);
    if (shown && !document.hidden) this.#show(text, styleOf(shown.event.kind), 5_000);
  }

  #show(text: string, look: { icon: CoreIcon; tone: Tone }, ms: number): void {
    const { icon, tone } = look;
    this.toasts = fewest([...this.toasts, { id: this.#next++, text, icon, tone, ms, action: null, event: true }]);
  }

  #event(event: RealmEvent, late: boolean): void {
    const look = styleOf(event.kind);
    if (look.tier === 4) return;
    const text = sentence(event);
    const notice: Notice = { id: event.seq, text, icon: look.icon, tone: look.tone, at: event.at };
    this.notices = [notice, ...this.notices].slice(0, KEPT);
    this.unread += 1;
    if (look.tier < 3) this.grave += 1;
    if (look.tier === 1) {
      this.banner = notice;
      this.assertive = text;
    } else if (look.tier === 3) this.#queue(event, late);
    else {
      this.say(text);
      if (!late && !document.hidden) this.#show(text, look, 8_000);
    }
  }

  start(): void {
    realm.onEvent((event, late) => this.#event(event, late));
  }
}

export const announcer = new Announcer();
