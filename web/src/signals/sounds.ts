// The sounds: parameter sets for ZzFX, which makes them; no files. ZzFX opens the audio device as it loads, so it loads on a gesture.

export const SOUNDS = {
  crit: [0.9, 0, 520, 0.01, 0.06, 0.16, 1, 1.6, 8, 0, 190, 0.05],
  dull: [0.8, 0, 110, 0.02, 0.05, 0.14, 2, 0.8, -2],
  alarm: [1, 0, 330, 0.02, 0.22, 0.2, 2, 1.2, 0, 0, -110, 0.16, 0.32],
  chest: [0.8, 0, 240, 0.03, 0.08, 0.22, 0, 1.4, 2.5, 0, 120, 0.08],
  level: [1, 0, 392, 0.02, 0.16, 0.36, 1, 1.8, 0, 0, 196, 0.11, 0.11],
  skill: [1, 0, 494, 0.03, 0.22, 0.42, 0, 1.5, 0, 0, 247, 0.13, 0.13],
  fanfare: [1.1, 0, 330, 0.03, 0.32, 0.5, 1, 1.7, 0, 0, 165, 0.14, 0.14],
  coin: [0.8, 0, 880, 0, 0.05, 0.2, 0, 1.3, 0, 0, 440, 0.05],
  click: [0.5, 0, 660, 0, 0.01, 0.05, 0, 1],
} as const satisfies Record<string, readonly number[]>;
export type Sound = keyof typeof SOUNDS;

export const SOUND_OF: Readonly<Record<string, Sound>> = {
  'battle.best_loss': 'crit', 'battle.loss_spike': 'dull', 'battle.failed': 'alarm', 'checkpoint.saved': 'chest',
  'hero.level_up': 'level', 'skill.mastered': 'skill', 'hero.champion': 'fanfare', 'queue.completed': 'coin',
};

const APART_MS = 300;
let last = -APART_MS;

/** Plays a sound, at most one per 300 ms. */
export async function play(sound: Sound, volume: number): Promise<void> {
  const now = performance.now();
  if (now - last < APART_MS) return;
  last = now;
  const { ZZFX, zzfx } = await import('zzfx');
  ZZFX.volume = volume * 0.3;
  zzfx(...SOUNDS[sound]);
}
