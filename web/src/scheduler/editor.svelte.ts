// The editor of the schedule: the table in force, the edited one, and what the curriculum would decide under it.
import { getJson, wordsOf } from '../data/api';
import { t } from '../i18n';
import { announcer } from '../lib/announce.svelte';
import { post, type Fields } from '../settings/ask';
import { difference, tally, withPlan, withPreset, type Decision, type Preset, type Recorded, type Shown, type SkillPlan, type Table } from './schedule';

const PAUSE_MS = 250;
const LOGGED = 12;

export class ScheduleEditor {
  shown = $state.raw<Shown | null>(null);
  draft = $state.raw<Table | null>(null);
  decisions = $state.raw<Decision[] | null>(null);
  log = $state.raw<Recorded[] | null>(null);
  older = $state<number | null>(null);
  problem = $state('');
  refused = $state('');
  fields = $state.raw<Fields>({});
  thinking = $state(false);
  saving = $state(false);
  #timer: ReturnType<typeof setTimeout> | undefined;
  #stop: AbortController | null = null;

  changes = $derived(this.shown && this.draft ? difference(this.shown.schedule, this.draft) : []);

  async load(): Promise<void> {
    try {
      this.#take(await getJson<Shown>('/api/schedule'));
      this.problem = '';
    } catch (error) {
      this.problem = wordsOf(error);
    }
    await this.loadLog();
  }

  async loadLog(before: number | null = null): Promise<void> {
    try {
      const after = before === null ? '' : `&before=${before}`;
      const found = await getJson<{ rows: Recorded[]; next: number | null }>(`/api/schedule/decisions?limit=${LOGGED}${after}`);
      this.log = before === null ? found.rows : [...(this.log ?? []), ...found.rows];
      this.older = found.next;
    } catch (error) {
      announcer.toast(wordsOf(error), { tone: 'coral', icon: 'broken-shield', ms: 8_000 });
    }
  }

  #take(shown: Shown): void {
    this.shown = shown;
    this.discard();
  }

  discard(): void {
    if (!this.shown) return;
    this.draft = this.shown.schedule;
    void this.preview(false);
  }

  #edit(draft: Table): void {
    this.draft = draft;
    this.thinking = true;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => void this.preview(true), PAUSE_MS);
  }

  setStrategy(strategy: string): void {
    if (this.draft) this.#edit({ ...this.draft, strategy });
  }

  setPlan(skill: string, part: Partial<SkillPlan>): void {
    if (this.draft) this.#edit(withPlan(this.draft, skill, part));
  }

  setBoard(name: string, value: number | string | null): void {
    if (this.draft) this.#edit({ ...this.draft, board: { ...this.draft.board, [name]: value } });
  }

  choose(preset: Preset): void {
    if (this.draft) this.#edit(withPreset(this.draft, preset));
  }

  /** Asks what would be decided; an older question that is still on its way is dropped. */
  async preview(say: boolean): Promise<void> {
    clearTimeout(this.#timer);
    this.#stop?.abort();
    const stop = (this.#stop = new AbortController());
    this.thinking = true;
    try {
      const found = await post<{ decisions: Decision[] }>('/api/schedule/preview', { schedule: this.draft }, stop.signal);
      if (stop.signal.aborted) return;
      this.fields = 'value' in found ? {} : found.fields;
      this.refused = 'value' in found ? '' : found.message;
      this.decisions = 'value' in found ? found.value.decisions : null;
      if (say) announcer.say('value' in found ? t('scheduler.said', { tally: tally(found.value.decisions) }) : found.message);
    } catch (error) {
      if (stop.signal.aborted) return;
      this.refused = wordsOf(error);
      this.decisions = null;
    }
    this.thinking = false;
  }

  /** Stores the edited table; returns what was refused, '' when it is stored. */
  async save(): Promise<string> {
    this.saving = true;
    try {
      const found = await post<Shown>('/api/schedule', { schedule: this.draft, version: this.shown?.version });
      if (!('value' in found)) return found.message;
      this.#take(found.value);
      announcer.toast(t('scheduler.saved'), { icon: 'save', tone: 'teal' });
      return '';
    } catch (error) {
      return wordsOf(error);
    } finally {
      this.saving = false;
    }
  }
}
