// All strings known so far: the landing page's words at once, the others when a page needs them.
import en from './en.json';
import type pages from './en.pages.json';

export type Key = keyof typeof en | keyof typeof pages;

export const strings: Record<string, string> = { ...en };

export function addStrings(more: Record<string, string>): void {
  Object.assign(strings, more);
}
