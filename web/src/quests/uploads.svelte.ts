// Files on their way to the board: one line per file, from waiting to the server's verdict.
import { getJson, postFile, wordsOf } from '../data/api';
import type { Priority, UploadVerdict } from '../data/types';
import { t } from '../i18n';
import { announcer } from '../lib/announce.svelte';

export interface Upload {
  id: number;
  name: string;
  size: number;
  state: 'waiting' | 'checking' | 'accepted' | 'refused';
  reason: string;
  rows: number | null;
  tokens: number | null;
  /** Of the first row: share of tokens without a label. */
  masked: number | null;
  longest: { length: number; max: number } | null;
  warnings: string[];
}

const KEPT = 30;

class Uploads {
  list = $state<Upload[]>([]);
  #next = 1;

  /** Sends the files one after the other; nothing enters the board before its verdict. */
  async send(files: Iterable<File>, priority: Priority): Promise<void> {
    const batch = [...files].map((file) => ({ file, id: this.#add(file) }));
    for (const { file, id } of batch) await this.#sendOne(file, id, priority);
    const taken = batch.filter(({ id }) => this.list.find((upload) => upload.id === id)?.state === 'accepted').length;
    if (batch.length > 0) announcer.say(t('upload.summary', { taken, all: batch.length }));
  }

  clear(): void {
    this.list = this.list.filter((upload) => upload.state === 'waiting' || upload.state === 'checking');
  }

  #add(file: File): number {
    const upload: Upload = { id: this.#next++, name: file.name, size: file.size, state: 'waiting', reason: '', rows: null, tokens: null, masked: null, longest: null, warnings: [] };
    this.list = [upload, ...this.list].slice(0, KEPT);
    return upload.id;
  }

  #set(id: number, change: Partial<Upload>): void {
    this.list = this.list.map((upload) => (upload.id === id ? { ...upload, ...change } : upload));
  }

  /** What the board knows of an accepted file; without it the verdict stands all the same. */
  async #look(id: number, quest: string): Promise<void> {
    const name = encodeURIComponent(quest);
    try {
      const [about, first] = await Promise.all([
        getJson<{ origin?: { validation_warnings?: string[] } | null }>(`/api/quests/${name}`),
        getJson<{ masked_share: number; length: number; max_length: number }>(`/api/quests/${name}/tokens?row=0`),
      ]);
      this.#set(id, { masked: first.masked_share, longest: { length: first.length, max: first.max_length }, warnings: about.origin?.validation_warnings ?? [] });
    } catch (error) {
      this.#set(id, { warnings: [wordsOf(error)] });
    }
  }

  async #sendOne(file: File, id: number, priority: Priority): Promise<void> {
    this.#set(id, { state: 'checking' });
    try {
      const query = new URLSearchParams({ name: file.name, priority });
      const verdict = await postFile<UploadVerdict>(`/api/quests/upload?${query}`, file);
      this.#set(id, { state: verdict.verdict, reason: verdict.reason ?? '', rows: verdict.rows, tokens: verdict.tokens ?? null });
      if (verdict.verdict === 'accepted' && verdict.id) await this.#look(id, verdict.id);
    } catch (error) {
      this.#set(id, { state: 'refused', reason: wordsOf(error) });
    }
  }
}

export const uploads = new Uploads();
