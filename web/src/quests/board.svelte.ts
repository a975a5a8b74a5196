// The quest board as the page sees it: one tab at a time, refreshed by events, changed by orders.
import { getJson, postJson, wordsOf, type BodyOf } from '../data/api';
import type { Priority, Quest, QuestPage, QuestState } from '../data/types';
import { t } from '../i18n';
import { announcer } from '../lib/announce.svelte';

export const PRIORITIES: readonly Priority[] = ['high', 'normal', 'low'];
export const TABS: readonly QuestState[] = ['queued', 'processing', 'completed', 'failed'];
const PAGE = 50;
const REFRESH_MS = 600;
const INBOX_MS = 4000;

export class Board {
  state = $state<QuestState>('queued');
  rows = $state.raw<Quest[]>([]);
  counts = $state.raw<QuestPage['counts']>({});
  next = $state.raw<QuestPage['next']>(null);
  inbox = $state.raw<QuestPage['inbox']>([]);
  loaded = $state(false);
  problem = $state('');
  busy = $state.raw<ReadonlySet<string>>(new Set());
  /** Quests chosen for one order to all of them. */
  chosen = $state.raw<ReadonlySet<string>>(new Set());
  #number = 0;
  #timer: ReturnType<typeof setTimeout> | null = null;
  #settling: ReturnType<typeof setTimeout> | null = null;

  open(state: QuestState): void {
    if (state !== this.state) {
      this.rows = [];
      this.chosen = new Set();
      this.loaded = false;
    }
    this.state = state;
    void this.load();
  }

  async load(): Promise<void> {
    const mine = ++this.#number;
    try {
      const limit = Math.max(PAGE, Math.min(200, this.rows.length));
      const page = await getJson<QuestPage>(`/api/quests?state=${this.state}&limit=${limit}`);
      if (mine !== this.#number) return;
      this.rows = page.rows;
      this.#took(page);
    } catch (error) {
      if (mine === this.#number) this.problem = wordsOf(error);
    }
  }

  async more(): Promise<void> {
    if (this.next === null) return;
    const mine = ++this.#number;
    try {
      const query = new URLSearchParams({ state: this.state, limit: String(PAGE), before: String(this.next) });
      const page = await getJson<QuestPage>(`/api/quests?${query}`);
      if (mine !== this.#number) return;
      this.rows = [...this.rows, ...page.rows];
      this.#took(page);
    } catch (error) {
      this.problem = wordsOf(error);
    }
  }

  #took(page: QuestPage): void {
    this.next = page.next;
    const present = new Set(this.rows.map((row) => row.id));
    this.chosen = new Set([...this.chosen].filter((id) => present.has(id)));
    this.inbox = page.inbox;
    // A file that leaves the inbox otherwise than to the board tells no event.
    if (this.#settling !== null) clearTimeout(this.#settling);
    this.#settling = page.inbox.length > 0 ? setTimeout(() => this.refreshSoon(), INBOX_MS) : null;
    this.counts = page.counts;
    this.problem = '';
    this.loaded = true;
  }

  close(): void {
    if (this.#settling !== null) clearTimeout(this.#settling);
  }

  /** Events come in bursts; the list is asked for once per burst. */
  refreshSoon(): void {
    if (this.#timer !== null) return;
    this.#timer = setTimeout(() => {
      this.#timer = null;
      void this.load();
    }, REFRESH_MS);
  }

  /** Shown at once, taken back if the server refuses. */
  async setPriority(quest: Quest, priority: Priority): Promise<void> {
    const before = this.rows;
    this.rows = this.rows.map((row) => (row.id === quest.id ? { ...row, priority } : row));
    const done = await this.#order(quest, 'priority', { priority });
    if (!done) this.rows = before;
    else announcer.say(t('quests.prioritySet', { name: quest.name, priority: t(`priority.${priority}`) }));
  }

  choose(quest: Quest, on: boolean): void {
    this.chosen = new Set(on ? [...this.chosen, quest.id] : [...this.chosen].filter((id) => id !== quest.id));
  }

  /** Whether a waiting quest is the first or the last of its priority, as far as the list is loaded. */
  endsOf(quest: Quest): { first: boolean; last: boolean } {
    const same = this.rows.filter((row) => row.priority === quest.priority);
    return { first: same[0]?.id === quest.id, last: this.next === null && same.at(-1)?.id === quest.id };
  }

  /** Shown at once, taken back if the server refuses. */
  async move(quest: Quest, direction: 'up' | 'down'): Promise<void> {
    const before = this.rows;
    const at = before.findIndex((row) => row.id === quest.id);
    const to = direction === 'up' ? at - 1 : at + 1;
    if (before[to]?.priority === quest.priority) this.rows = before.map((row, i) => (i === at ? before[to]! : i === to ? before[at]! : row));
    if (await this.#order(quest, 'move', { direction })) announcer.say(t('quests.moved', { name: quest.name, direction }));
    else this.rows = before;
  }

  /** One order to every chosen quest, one after the other; what the server refuses is told once. */
  async all<V extends 'delete' | 'retry' | 'priority'>(verb: V, body: BodyOf<`/api/quests/${string}/${V}`>): Promise<void> {
    const quests = this.rows.filter((row) => this.chosen.has(row.id));
    this.busy = new Set(quests.map((quest) => quest.id));
    const refused: string[] = [];
    for (const quest of quests) {
      try {
        await postJson(`/api/quests/${encodeURIComponent(quest.id)}/${verb}`, body);
      } catch (error) {
        refused.push(wordsOf(error));
      }
    }
    this.busy = new Set();
    this.chosen = new Set();
    await this.load();
    announcer.toast(t('quests.bulkDone', { done: quests.length - refused.length, all: quests.length, why: refused[0] ?? null }), refused.length > 0 ? { tone: 'coral', ms: 8_000 } : {});
  }

  async remove(quest: Quest): Promise<void> {
    if (!(await this.#order(quest, 'delete', {}))) return;
    announcer.toast(t('quests.deleted', { name: quest.name }), {
      icon: 'trash-can', ms: 10_000, action: { label: t('word.undo'), run: () => void this.restore(quest) },
    });
  }

  async restore(quest: Quest): Promise<void> {
    if (await this.#order(quest, 'undelete', {})) announcer.toast(t('quests.restored', { name: quest.name }), { icon: 'cycle', tone: 'teal' });
  }

  async retry(quest: Quest): Promise<void> {
    if (await this.#order(quest, 'retry', {})) announcer.toast(t('quests.retried', { name: quest.name }), { icon: 'cycle', tone: 'teal' });
  }

  async #order<V extends 'priority' | 'move' | 'delete' | 'undelete' | 'retry'>(
    quest: Quest, verb: V, body: BodyOf<`/api/quests/${string}/${V}`>,
  ): Promise<boolean> {
    this.busy = new Set([...this.busy, quest.id]);
    try {
      await postJson(`/api/quests/${encodeURIComponent(quest.id)}/${verb}`, body);
      await this.load();
      return true;
    } catch (error) {
      announcer.toast(wordsOf(error), { tone: 'coral', icon: 'broken-shield', ms: 8_000 });
      return false;
    } finally {
      this.busy = new Set([...this.busy].filter((id) => id !== quest.id));
    }
  }
}
