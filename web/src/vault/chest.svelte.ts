// The table of checkpoints as the page sees it: one page at a time by key, sorted and filtered by the server, changed by orders.
import { getJson, postJson, wordsOf, type BodyOf } from '../data/api';
import type { Maybe } from '../data/types';
import { t } from '../i18n';
import { announcer } from '../lib/announce.svelte';
import { int } from '../lib/format';
import { orderOf, type Champion, type Checkpoint, type CheckpointPage, type Details, type Order, type Plan, type OrderAddress, type Sort, type Stone, type Verb } from './types';

const PAGE = 50;
const REFRESH_MS = 600;
/** The end of a column that is looked for first. */
const FIRST: Record<Sort, Order> = { step: 'desc', train_loss: 'asc', val_loss: 'asc', eval: 'desc', size: 'desc' };

export class Chest {
  sort = $state<Sort>('step');
  order = $state<Order>('desc');
  champion = $state(false);
  pinned = $state(false);
  rows = $state.raw<Checkpoint[]>([]);
  total = $state(0);
  pins = $state(0);
  crown = $state.raw<Maybe<Champion>>(null);
  next = $state<Maybe<string>>(null);
  /** Keys of the pages up to this one. */
  keys = $state.raw<readonly (string | null)[]>([null]);
  plan = $state.raw<Maybe<Plan>>(null);
  trash = $state.raw<Stone[]>([]);
  loaded = $state(false);
  problem = $state('');
  planProblem = $state('');
  busy = $state.raw<ReadonlySet<string>>(new Set());
  chosen = $state.raw<readonly string[]>([]);
  #number = 0;
  #timer: ReturnType<typeof setTimeout> | null = null;

  async load(): Promise<void> {
    const mine = ++this.#number;
    const query = new URLSearchParams({ sort: this.sort, order: this.order, limit: String(PAGE) });
    const key = this.keys.at(-1);
    if (key) query.set('after', key);
    if (this.champion) query.set('champion', 'true');
    if (this.pinned) query.set('pinned', 'true');
    try {
      const page = await getJson<CheckpointPage>(`/api/vault/checkpoints?${query}`);
      if (mine !== this.#number) return;
      this.rows = page.rows;
      this.next = page.next;
      this.total = page.total;
      this.pins = page.pinned;
      this.crown = page.champion;
      this.problem = '';
      this.loaded = true;
    } catch (error) {
      if (mine === this.#number) this.problem = wordsOf(error);
    }
  }

  /** What stands beside the table: the disk with retention's dry run, and the trash. */
  async loadSides(): Promise<void> {
    await Promise.all([
      getJson<Plan>('/api/vault/plan').then((plan) => {
        this.plan = plan;
        this.planProblem = '';
      }, (error: unknown) => (this.planProblem = wordsOf(error))),
      getJson<{ rows: Stone[] }>('/api/vault/trash').then((found) => (this.trash = found.rows), () => undefined),
    ]);
  }

  #anew(): void {
    this.keys = [null];
    void this.load();
  }

  sortBy(sort: Sort): void {
    this.order = sort === this.sort ? (this.order === 'asc' ? 'desc' : 'asc') : FIRST[sort];
    this.sort = sort;
    this.#anew();
  }

  filter(which: 'champion' | 'pinned', on: boolean): void {
    this[which] = on;
    this.#anew();
  }

  turn(way: 'on' | 'back'): void {
    if (way === 'on' && this.next) this.keys = [...this.keys, this.next];
    else if (way === 'back' && this.keys.length > 1) this.keys = this.keys.slice(0, -1);
    else return;
    void this.load();
  }

  /** At most two at a time: the one chosen first gives way. */
  choose(name: string, on: boolean): void {
    this.chosen = on ? [...this.chosen.filter((one) => one !== name), name].slice(-2) : this.chosen.filter((one) => one !== name);
  }

  refreshSoon(): void {
    if (this.#timer !== null) return;
    this.#timer = setTimeout(() => {
      this.#timer = null;
      void this.load();
      void this.loadSides();
    }, REFRESH_MS);
  }

  pin(row: { name: string; step: number; pinned: boolean }): Promise<Maybe<Details>> {
    const words = row.pinned ? 'vault.unpinned' : 'vault.pinnedNow';
    return this.#order(row, 'pin', { pinned: !row.pinned }, () => announcer.say(t(words, { step: int(row.step) })));
  }

  promote(row: { name: string; step: number }): Promise<Maybe<Details>> {
    return this.#order(row, 'promote', {}, () => announcer.toast(t('vault.promoted', { step: int(row.step) }), { icon: 'crown', tone: 'gold' }));
  }

  verify(row: { name: string; step: number }): Promise<Maybe<Details>> {
    return this.#order(row, 'verify', {}, (now) => announcer.say(t(now.verified?.ok ? 'vault.isWhole' : 'vault.isDamaged', { reason: now.verified?.reason })));
  }

  remove(row: { name: string; step: number }, confirm: string): Promise<Maybe<Details>> {
    return this.#order(row, 'delete', { confirm }, () => {
      this.choose(row.name, false);
      announcer.toast(t('vault.deleted', { step: int(row.step) }), {
        icon: 'trash-can', ms: 10_000, action: { label: t('word.undo'), run: () => void this.restore(row) },
      });
    });
  }

  restore(row: { name: string; step: number }): Promise<Maybe<Details>> {
    return this.#order(row, 'undelete', {}, (now) => {
      const warn = now.verdict.kept === false ? now.verdict.text : null;
      announcer.toast(t('vault.restored', { step: int(row.step), warn }), { icon: 'cycle', tone: 'teal', ms: 8_000 });
    });
  }

  async automatic(): Promise<void> {
    await this.#tried('', async () => {
      const found: { champion: Maybe<Champion> } = await postJson('/api/vault/champion', { automatic: true });
      this.crown = found.champion;
      announcer.toast(t('vault.automaticNow', { step: found.champion ? int(found.champion.step) : null }), { icon: 'crown', tone: 'gold' });
    });
  }

  async #order<V extends Verb>(row: { name: string }, verb: V, body: BodyOf<OrderAddress<V>>, done: (now: Details) => void): Promise<Maybe<Details>> {
    return this.#tried(row.name, async () => {
      const now: Details = await postJson(orderOf(row.name, verb), body);
      done(now);
      return now;
    });
  }

  async #tried<T>(name: string, act: () => Promise<T>): Promise<Maybe<T>> {
    this.busy = new Set([...this.busy, name]);
    try {
      const found = await act();
      await this.load();
      void this.loadSides();
      return found;
    } catch (error) {
      announcer.toast(wordsOf(error), { tone: 'coral', icon: 'broken-shield', ms: 8_000 });
      return null;
    } finally {
      this.busy = new Set([...this.busy].filter((one) => one !== name));
    }
  }
}
