// The Tavern's facts as the server sends them. A missing value is null, its reason in "<field>_reason".

export type Maybe<T> = T | null;
type Reasons = { [field: `${string}_reason`]: string | null | undefined };

export interface Hero extends Reasons {
  name: Maybe<string>;
  /** What the portrait is drawn from. */
  look?: Maybe<string>;
  model: Maybe<string>;
  level: Maybe<number>;
  step: Maybe<number>;
  xp: Maybe<number>;
  atk: Maybe<number>;
  def: Maybe<number>;
  acc: Maybe<number>;
  gold: Maybe<number>;
  loss: Maybe<number>;
  val_loss: Maybe<number>;
  val_loss_step: Maybe<number>;
  acc_correct: Maybe<number>;
  acc_n: Maybe<number>;
  acc_skill: Maybe<string>;
  acc_level: Maybe<number>;
  quests_completed: Maybe<number>;
  xp_in_level: Maybe<number>;
  next_level_eta_s: Maybe<number>;
}

export type BattleState =
  | 'training' | 'paused' | 'idle' | 'stopped' | 'evaluating' | 'error' | 'offline' | 'starting';

export interface Battle extends Reasons {
  state: BattleState;
  quest: Maybe<string>;
  quest_id: Maybe<string>;
  kind: Maybe<string>;
  skill: Maybe<string>;
  quest_level: Maybe<number>;
  step: Maybe<number>;
  steps_in_quest: Maybe<number>;
  steps_done_in_quest: Maybe<number>;
  rows_in_quest: Maybe<number>;
  loss: Maybe<number>;
  /** Of the last step alone; `loss` is smoothed. */
  raw_loss?: Maybe<number>;
  best_loss: Maybe<number>;
  loss_delta: Maybe<number>;
  lr: Maybe<number>;
  grad_norm: Maybe<number>;
  tokens_per_s: Maybe<number>;
  steps_per_s: Maybe<number>;
  eta_s: Maybe<number>;
  heartbeat_age_s: Maybe<number>;
  threads: Maybe<number>;
}

export interface SkillEval {
  level: number;
  correct: number;
  n: number;
  step: Maybe<number>;
  at: string;
}

export interface Skill extends Reasons {
  name: string;
  icon: Maybe<string>;
  game_icon: Maybe<string>;
  color: Maybe<string>;
  mastered: Maybe<number>;
  training: Maybe<number>;
  max_level: Maybe<number>;
  acc: Maybe<number>;
  n: Maybe<number>;
  correct: Maybe<number>;
  passes: Maybe<number>;
  passes_needed: Maybe<number>;
  threshold: Maybe<number>;
  rusty: number[];
  last_evals: SkillEval[];
}

export interface QueueCounts extends Reasons {
  high: Maybe<number>;
  normal: Maybe<number>;
  low: Maybe<number>;
  processing: Maybe<number>;
  completed: Maybe<number>;
  failed: Maybe<number>;
}

export interface Checkpoints extends Reasons {
  count: Maybe<number>;
  latest: Maybe<number>;
  champion: Maybe<number>;
  champion_metric: Maybe<number | string>;
  champion_value?: Maybe<number>;
  size_bytes: Maybe<number>;
  free_bytes: Maybe<number>;
}

export interface Service {
  state: string;
  port: Maybe<number>;
  since: Maybe<string>;
  restarts: Maybe<number>;
  reason: Maybe<string>;
}

export interface Forge extends Reasons {
  device: Maybe<string>;
  name: Maybe<string>;
  ram_used_bytes: Maybe<number>;
  ram_total_bytes: Maybe<number>;
  cpu_percent: Maybe<number>;
  gpu_percent: Maybe<number>;
  vram_used_bytes: Maybe<number>;
  vram_total_bytes: Maybe<number>;
  temperature_c: Maybe<number>;
  power_w: Maybe<number>;
}

export interface RealmEvent {
  seq: number;
  at: string;
  kind: string;
  subject: string;
  step: Maybe<number>;
  data: Record<string, unknown>;
}

export interface NextMove {
  text: string;
  why?: Maybe<string>;
  action: Maybe<string>;
}

export interface Snapshot {
  cursor: number;
  /** The newest event the player has acknowledged. */
  seen?: number;
  at: string;
  build: Maybe<string>;
  home_name: Maybe<string>;
  /** Set when what is seen is a replayed recording. */
  demo?: Maybe<{ recorded_at: string; speed: number }>;
  hero: Hero;
  battle: Battle;
  skills: Record<string, Skill>;
  queue: QueueCounts;
  checkpoints: Checkpoints;
  services: Record<string, Service>;
  forge: Forge;
  next: Maybe<NextMove>;
  log: RealmEvent[];
}

export interface Tick {
  hero: Hero;
  battle: Battle;
  forge: Forge;
  at: string;
}

export type QuestState = 'queued' | 'processing' | 'completed' | 'failed' | 'deleted';
/** States of a row; the shelf "failed" also holds rejected and skipped ones. */
export type RowState = QuestState | 'rejected' | 'skipped';
export type Priority = 'high' | 'normal' | 'low';

export interface Quest {
  id: string;
  name: string;
  state: RowState;
  priority: Priority;
  skill: Maybe<string>;
  level: Maybe<number>;
  rows: Maybe<number>;
  rows_done: Maybe<number>;
  tokens: Maybe<number>;
  size: Maybe<number>;
  arrived_at: Maybe<string>;
  attempts: Maybe<number>;
  reason: Maybe<string>;
  eta_s: Maybe<number>;
  kind: Maybe<string>;
}

export interface QuestPage {
  rows: Quest[];
  next: Maybe<string | number>;
  counts: Partial<Record<QuestState, number>>;
  /** Files that were not taken yet, each with the reason. */
  inbox: { name: string; reason: string }[];
}

export interface UploadVerdict {
  name: string;
  verdict: 'accepted' | 'refused';
  id: Maybe<string>;
  reason: Maybe<string>;
  rows: Maybe<number>;
  tokens?: Maybe<number>;
}

export interface Metrics {
  from: Maybe<number>;
  to: Maybe<number>;
  points: { x: number; min: number; max: number; last: number }[];
  val: { x: number; y: number }[];
  markers: { x: number; kind: string; text: string }[];
}

export interface Away extends Record<string, unknown> {
  from: Maybe<number | string>;
  to: Maybe<number | string>;
  seconds: Maybe<number>;
  steps: Maybe<number>;
  idle_s: Maybe<number>;
  events?: Maybe<number>;
  told?: Record<string, { seq: number; at: string; text: string }[]>;
}
