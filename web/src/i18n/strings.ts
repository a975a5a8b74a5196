// All strings known so far: those of the landing page's first sight at once, the others when they are needed.
import en from './en.json';
import type pages from './en.pages.json';
import type tavern from './en.tavern.json';

export type Key = keyof typeof en | keyof typeof tavern | keyof typeof pages;

export const strings: Record<string, string> = { ...en };

export function addStrings(more: Record<string, string>): void {
  Object.assign(strings, more);
}
