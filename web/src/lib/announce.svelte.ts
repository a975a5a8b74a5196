// What is said to people: toasts, the banner for grave things, and the two live regions (TAVERN 1.3, 4.1).
import { realm } from '../data/realm.svelte';
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
}

export interface Notice {
  id: number;
  text: string;
  icon: CoreIcon;
  tone: Tone;
  at: string;
}

const BATCH_MS = 30_000;
const SHOWN = 4;
const KEPT = 30;

class Announcer {
  toasts = $state<Toast[]>([]);
  notices = $state<Notice[]>([]);
  unread = $state(0);
  banner = $state<Notice | null>(null);
  polite = $state('');
  assertive = $state('');
  #waiting: string[] = [];
  #timer: ReturnType<typeof setTimeout> | null = null;
  #lastSaid = 0;
  #next = 1;

  /** A short message about something the person just did. */
  toast(text: string, options: Partial<Pick<Toast, 'icon' | 'tone' | 'ms' | 'action'>> = {}): void {
    const toast: Toast = {
      id: this.#next++, text, icon: options.icon ?? 'info', tone: options.tone ?? 'plain',
      ms: options.ms ?? 5_000, action: options.action ?? null,
    };
    this.toasts = [...this.toasts, toast].slice(-SHOWN);
    this.say(text);
  }

  dismiss(id: number): void {
    this.toasts = this.toasts.filter((toast) => toast.id !== id);
  }

  /** Spoken at once, for answers to the person's own action. */
  say(text: string): void {
    this.polite = this.polite === text ? `${text}\u00a0` : text;
  }

  /** Joined with others into one sentence, at most one per 30 s. */
  #queue(text: string): void {
    this.#waiting.push(text);
    if (this.#timer !== null) return;
    const wait = Math.max(400, this.#lastSaid + BATCH_MS - Date.now());
    this.#timer = setTimeout(() => {
      this.#timer = null;
      this.#lastSaid = Date.now();
      this.say(this.#waiting.splice(0).join('. '));
    }, wait);
  }

  #event(event: RealmEvent, late: boolean): void {
    const { tier, icon, tone } = styleOf(event.kind);
    if (tier === 4) return;
    const text = sentence(event);
    const notice: Notice = { id: event.seq, text, icon, tone, at: event.at };
    this.notices = [notice, ...this.notices].slice(0, KEPT);
    this.unread += 1;
    if (tier === 1) {
      this.banner = notice;
      this.assertive = text;
      return;
    }
    this.#queue(text);
    if (late || document.hidden) return;
    const ms = tier === 2 ? 8_000 : 5_000;
    this.toasts = [...this.toasts, { id: this.#next++, text, icon, tone, ms, action: null }].slice(-SHOWN);
  }

  start(): void {
    realm.onEvent((event, late) => this.#event(event, late));
  }
}

export const announcer = new Announcer();
