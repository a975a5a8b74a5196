// Whether the strings outside the landing page have arrived; texts that can use them read this.
import { addStrings } from './strings';

class Loaded {
  done = $state(false);
  #asked: Promise<void> | null = null;

  load(): Promise<void> {
    this.#asked ??= import('./en.pages.json').then((file) => {
      addStrings(file.default);
      this.done = true;
    });
    return this.#asked;
  }
}

export const loaded = new Loaded();
