// The first run: what can be chosen, what was chosen, and how the making goes. Every answer is the server's.
import { getJson, postJson, wordsOf } from '../data/api';

export interface HeroRow { id: string; name: string; model: string; preset: string; active: boolean }
export interface Choice {
  id: string; name: string; title: string; params: number | null; fits: boolean | null; why: string; download: string | null;
}
export interface Making { state: 'idle' | 'making' | 'made' | 'failed'; text: string; seconds: number | null; hero: string | null }
export interface Heroes { rows: HeroRow[]; choices: Choice[]; default: string; making: Making }
export interface Check { id: string; good: boolean; text: string; fix: string }
export interface Folder { model_type: string; params: number; size_bytes: number; fits: boolean | null; why: string }
export interface SkillChoice { id: string; name: string; max_level: number }

export const STEPS = ['look', 'class', 'skills', 'forge'] as const;
export type Step = (typeof STEPS)[number];
/** Seeds of six portraits that differ in cloak or mask. */
export const LOOKS = ['DIO', 'Tide', 'Wine', 'Raven', 'Harbour', 'Moss'] as const;
/** The choice that asks for a path instead of naming a preset. */
export const FOLDER = 'folder';
const POLL_MS = 1_000;

export class FirstRun {
  heroes: Heroes | null = $state(null);
  checks: Check[] | null = $state(null);
  skills: SkillChoice[] = $state([]);
  error = $state('');
  at = $state(0);
  name = $state('DIO');
  look: string = $state('DIO');
  preset = $state('');
  path = $state('');
  folder: Folder | null = $state(null);
  chosen: string[] = $state(['bin']);
  sending = $state(false);
  /** Whether a hero was made while this page looked on; one of an earlier visit is no news. */
  watched = $state(false);
  #timer: ReturnType<typeof setTimeout> | null = null;

  step: Step = $derived(STEPS[this.at] ?? 'look');
  making: Making | null = $derived(this.heroes?.making ?? null);
  active: HeroRow | null = $derived(this.heroes?.rows.find((row) => row.active) ?? null);
  /** What keeps the present step from being done, as a key of the strings; null when nothing does. */
  hold: 'name' | 'path' | 'skill' | null = $derived.by(() => {
    if (this.step === 'look' && this.name.trim() === '') return 'name';
    if (this.step === 'class' && this.preset === FOLDER && this.folder === null) return 'path';
    if (this.step === 'skills' && this.chosen.length === 0) return 'skill';
    return null;
  });

  async load(): Promise<void> {
    try {
      const [heroes, checks, table] = await Promise.all([
        getJson<Heroes>('/api/heroes'),
        getJson<{ checks: Check[] }>('/api/heroes/forge-check'),
        getJson<{ skills: SkillChoice[] }>('/api/schedule'),
      ]);
      this.heroes = heroes;
      this.checks = checks.checks;
      this.skills = table.skills;
      if (this.preset === '') this.preset = heroes.default;
      this.error = '';
      if (heroes.making.state === 'making') this.#follow();
    } catch (error) {
      this.error = wordsOf(error);
    }
  }

  async checkFolder(): Promise<void> {
    this.folder = null;
    this.error = '';
    try {
      this.folder = (await postJson('/api/heroes/check-folder', { folder: this.path.trim() })) as Folder;
    } catch (error) {
      this.error = wordsOf(error);
    }
  }

  async begin(): Promise<void> {
    this.sending = true;
    this.error = '';
    try {
      const base = this.preset === FOLDER ? { folder: this.path.trim() } : { preset: this.preset };
      await postJson('/api/heroes', { ...base, name: this.name.trim(), look: this.look, skills: this.chosen });
      await this.load();
    } catch (error) {
      this.error = wordsOf(error);
    } finally {
      this.sending = false;
    }
  }

  #follow(): void {
    this.stop();
    this.watched = true;
    this.#timer = setTimeout(() => void this.load(), POLL_MS);
  }

  stop(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
  }
}
