// The tab's icon: the hood, with a mark whose colour and shape tell the state.
import type { BattleState } from '../data/types';

const HOOD =
  '<rect width="32" height="32" rx="7" fill="#1d1728"/><path d="M16 3c6 0 9 5 9 11v14H7V14C7 8 10 3 16 3z" fill="#2b2340" stroke="#f0c36a" stroke-width="2"/>';
const EYES = '<path d="M11 13h4v4h-4zM17 13h4v4h-4z" fill="#7ef0d2"/>';

const MARKS: Partial<Record<BattleState, string>> = {
  training: '<circle cx="25" cy="25" r="6" fill="#5fe0ad"/>',
  evaluating: '<circle cx="25" cy="25" r="6" fill="#b9a2ff"/>',
  paused: '<path d="M20 19h4v12h-4zM26 19h4v12h-4z" fill="#f0c36a"/>',
  error: '<path d="M25 18l7 13H18z" fill="#ff8d7a"/>',
  offline: '<path d="M25 18l7 13H18z" fill="#bfb294"/>',
};

let shown: BattleState | null = null;

export function stateIcon(state: BattleState | null): void {
  if (state === null || state === shown) return;
  const link = document.querySelector<HTMLLinkElement>('link[rel=icon]');
  if (!link) return;
  shown = state;
  const svg = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32">${HOOD}${EYES}${MARKS[state] ?? ''}</svg>`;
  link.href = `data:image/svg+xml,${encodeURIComponent(svg)}`;
}
