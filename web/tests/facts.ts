// A whole snapshot for tests; every test changes only what it is about.
import type { RealmEvent, Snapshot } from '../src/data/types';

export const event = (seq: number, kind = 'queue.added', more: Partial<RealmEvent> = {}): RealmEvent => ({
  seq, at: '2026-11-22T12:00:00.000Z', kind, subject: '', step: null, data: {}, ...more,
});

export function snapshot(change: Partial<Snapshot> = {}): Snapshot {
  return {
    cursor: 10, at: '2026-11-22T12:00:00.000Z', build: 'b', home_name: 'home',
    hero: {
      name: 'DIO', model: 'tiny', level: 12, step: 12_482, xp: 12_482, atk: 1.61, def: null, acc: 0.84, gold: 1_400, loss: 0.621,
      val_loss: null, val_loss_step: null, acc_correct: 21, acc_n: 25, acc_skill: 'sy', acc_level: 4, quests_completed: 14,
      xp_in_level: 482, next_level_eta_s: 224, def_reason: 'no validation loss has been measured yet',
    },
    battle: {
      state: 'training', state_reason: 'the hero is fighting a quest', quest: 'a.jsonl', quest_id: 'q1', kind: 'generated', skill: 'sy',
      quest_level: 4, step: 12_482, steps_in_quest: 2_480, steps_done_in_quest: 1_240, rows_in_quest: 2_480, loss: 0.621,
      best_loss: 0.617, loss_delta: -0.004, lr: 3.1e-4, grad_norm: 0.8, tokens_per_s: 1_900, steps_per_s: 2.31, eta_s: 537,
      heartbeat_age_s: 0.4, threads: 2,
    },
    skills: {},
    queue: { high: 0, normal: 1, low: 0, processing: 1, completed: 14, failed: 0 },
    checkpoints: { count: 12, latest: 12_000, champion: 12_000, champion_metric: 'val_loss', size_bytes: 1, free_bytes: 2 },
    services: {},
    forge: {
      device: 'cpu', name: 'cpu', ram_used_bytes: 1, ram_total_bytes: 2, cpu_percent: 3, gpu_percent: null, vram_used_bytes: null,
      vram_total_bytes: null, temperature_c: null, power_w: null,
    },
    next: null,
    log: [event(10)],
    ...change,
  };
}
