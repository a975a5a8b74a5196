// What a person wants to hear and to be told outside the page, kept in this browser; everything is off until asked for.

export interface Wishes {
  sound: boolean;
  volume: number;
  desktop: boolean;
  /** Hours of the local day without sound and notices, null for none; 22 to 7 goes over midnight. */
  quiet: { from: number; to: number } | null;
}
export const SILENT: Wishes = { sound: false, volume: 0.4, desktop: false, quiet: null };
const KEY = 'realm.signals';

const hour = (value: unknown): value is number => Number.isInteger(value) && (value as number) >= 0 && (value as number) <= 23;

/** Reads what was stored; anything odd is as if it had never been asked for. */
export function parseWishes(text: string | null): Wishes {
  try {
    const told = JSON.parse(text ?? '{}') as Record<string, unknown>;
    const quiet = told.quiet as { from?: unknown; to?: unknown } | null | undefined;
    return {
      sound: told.sound === true, desktop: told.desktop === true,
      volume: typeof told.volume === 'number' && told.volume >= 0 && told.volume <= 1 ? told.volume : SILENT.volume,
      quiet: quiet && hour(quiet.from) && hour(quiet.to) ? { from: quiet.from, to: quiet.to } : null,
    };
  } catch {
    return SILENT;
  }
}

export function isQuiet(quiet: Wishes['quiet'], at: Date): boolean {
  if (!quiet || quiet.from === quiet.to) return false;
  const now = at.getHours();
  return quiet.from < quiet.to ? now >= quiet.from && now < quiet.to : now >= quiet.from || now < quiet.to;
}

export const readWishes = (): Wishes => parseWishes(localStorage.getItem(KEY));
export const storeWishes = (wishes: Wishes): void => localStorage.setItem(KEY, JSON.stringify(wishes));

/** Tier 1 speaks always, tier 2 only to somebody who does not look at the page; the others stay on it. */
export function tellsDesktop(tier: number, hidden: boolean): boolean {
  return tier === 1 || (tier === 2 && hidden);
}
