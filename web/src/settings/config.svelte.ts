// The editor of config.json: what is in force, what is wanted instead, and what the server says of it.
import { getJson, wordsOf } from '../data/api';
import { t } from '../i18n';
import { announcer } from '../lib/announce.svelte';
import { post } from './ask';
import { readBack, written, type Field, type Verdict, type Version } from './fields';

const PAUSE_MS = 300;

interface Shown {
  version: string;
  preset: string;
  fields: Field[];
}

export class ConfigEditor {
  fields = $state.raw<Field[] | null>(null);
  versions = $state.raw<Version[]>([]);
  problem = $state('');
  /** What the person wrote, by name. */
  texts = $state<Record<string, string>>({});
  resets = $state<string[]>([]);
  opened = $state<string[]>([]);
  verdict = $state.raw<Verdict | null>(null);
  checking = $state(false);
  saving = $state(false);
  #version = '';
  #timer: ReturnType<typeof setTimeout> | undefined;
  #asked = 0;

  changes = $derived.by(() => {
    const found: Record<string, unknown> = {};
    for (const field of this.fields ?? []) {
      const text = this.texts[field.name];
      if (text !== undefined && text !== written(field.value)) found[field.name] = readBack(field, text);
    }
    return found;
  });
  count = $derived(Object.keys(this.changes).length + this.resets.length);
  errors = $derived(this.verdict?.errors ?? {});

  async load(): Promise<void> {
    try {
      this.#take(await getJson<Shown>('/api/config'));
      this.versions = (await getJson<{ versions: Version[] }>('/api/config/history')).versions;
      this.problem = '';
    } catch (error) {
      this.problem = wordsOf(error);
    }
  }

  #take(shown: Shown): void {
    this.fields = shown.fields;
    this.#version = shown.version;
    this.discard();
  }

  discard(): void {
    clearTimeout(this.#timer);
    this.#asked += 1;
    this.texts = {};
    this.resets = [];
    this.opened = [];
    this.verdict = null;
    this.checking = false;
  }

  write(name: string, text: string): void {
    this.texts[name] = text;
    this.resets = this.resets.filter((one) => one !== name);
    this.#later();
  }

  reset(field: Field): void {
    delete this.texts[field.name];
    this.resets = [...this.resets.filter((one) => one !== field.name), field.name];
    this.#later();
  }

  undo(name: string): void {
    delete this.texts[name];
    this.resets = this.resets.filter((one) => one !== name);
    this.#later();
  }

  open(name: string): void {
    this.opened = [...this.opened, name];
  }

  textOf(field: Field): string {
    return this.texts[field.name] ?? written(this.resets.includes(field.name) ? field.default : field.value);
  }

  #later(): void {
    clearTimeout(this.#timer);
    this.checking = true;
    this.#timer = setTimeout(() => void this.check(), PAUSE_MS);
  }

  /** Asks what the change would do; answers to older questions are dropped. */
  async check(): Promise<Verdict | null> {
    clearTimeout(this.#timer);
    const asked = ++this.#asked;
    if (this.count === 0) {
      this.checking = false;
      return (this.verdict = null);
    }
    this.checking = true;
    try {
      const found = await post<Verdict>('/api/config/check', { changes: this.changes, reset: this.resets });
      if (asked !== this.#asked) return null;
      this.verdict = 'value' in found ? found.value : { valid: false, errors: { '': found.message }, diff: [], locked: [] };
    } catch (error) {
      if (asked !== this.#asked) return null;
      this.verdict = { valid: false, errors: { '': wordsOf(error) }, diff: [], locked: [] };
    }
    this.checking = false;
    return this.verdict;
  }

  /** Stores the change, or an earlier version; returns what was refused, '' when it is stored. */
  async save(approved: string[], version?: string): Promise<string> {
    this.saving = true;
    const body = version
      ? { id: version, approved }
      : { changes: this.changes, reset: this.resets, approved, version: this.#version };
    try {
      const found = await post<Shown>(version ? '/api/config/restore' : '/api/config', body);
      if (!('value' in found)) return found.message;
      this.#take(found.value);
      announcer.toast(t(version ? 'config.restored' : 'config.saved'), { icon: 'save', tone: 'teal' });
      this.versions = (await getJson<{ versions: Version[] }>('/api/config/history')).versions;
      return '';
    } catch (error) {
      return wordsOf(error);
    } finally {
      this.saving = false;
    }
  }
}
