// The quest board as the page sees it: one tab at a time, refreshed by events, changed by orders.
import { getJson, postJson, wordsOf } from '../data/api';
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
  #number = 0;
  #timer: ReturnType<typeof setTimeout> | null = null;
  #settling: ReturnType<typeof setTimeout> | null = null;

  open(state: QuestState): void {
    if (state !== this.state) {
      this.rows = [];
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

  async #order(quest: Quest, verb: string, body: Record<string, unknown>): Promise<boolean> {
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
