// Which strings have arrived beyond those of the landing page's first sight; texts that can use them read this.
import { addStrings } from './strings';

const FILES = {
  /** What the landing page says later: summaries, explanations, its words under "Real" labels. */
  tavern: () => import('./en.tavern.json'),
  pages: () => import('./en.pages.json'),
} as const;
type File = keyof typeof FILES;

class Loaded {
  tavern = $state(false);
  pages = $state(false);
  #asked = new Map<File, Promise<void>>();

  /** Fetches a file of strings once. */
  load(file: File): Promise<void> {
    const asked = this.#asked.get(file) ?? FILES[file]().then((words) => {
      addStrings(words.default);
      this[file] = true;
    });
    this.#asked.set(file, asked);
    return asked;
  }

  async all(): Promise<void> {
    await Promise.all([this.load('tavern'), this.load('pages')]);
  }
}

export const loaded = new Loaded();
