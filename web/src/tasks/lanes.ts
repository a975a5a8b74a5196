// Runs of tasks as lanes of the last 24 hours: pure.
import type { Maybe } from '../data/types';

export interface Task {
  id: string;
  title: string;
  device: string;
  priority: number;
  cooldown_s: number;
  by_itself: boolean;
  ready: boolean;
  why_not: Maybe<string>;
  ready_in_s: number;
  last_state: Maybe<string>;
  last_at: Maybe<string>;
  last_summary: Maybe<string>;
}

export interface TaskRun {
  id: string;
  task: string;
  state: string;
  started_at: string;
  ended_at?: Maybe<string>;
  finished_at?: Maybe<string>;
  summary?: Maybe<string>;
}

export interface Span {
  run: TaskRun;
  /** Shares of the day, from 0 to 1. */
  left: number;
  width: number;
}

const DAY_MS = 86_400_000;
const NARROWEST = 0.003;

/** The runs of one device's tasks that touch the last 24 hours; a run without an end reaches to now. */
export function lane(runs: readonly TaskRun[], tasks: readonly Task[], device: string, now: number): Span[] {
  const mine = new Set(tasks.filter((task) => task.device === device).map((task) => task.id));
  return runs.flatMap((run) => {
    if (!mine.has(run.task)) return [];
    const begin = Date.parse(run.started_at);
    const end = Date.parse(run.ended_at ?? run.finished_at ?? '') || now;
    if (Number.isNaN(begin) || end < now - DAY_MS) return [];
    const left = Math.max(0, (begin - (now - DAY_MS)) / DAY_MS);
    return [{ run, left: Math.min(left, 1 - NARROWEST), width: Math.max(NARROWEST, Math.min(1, (end - (now - DAY_MS)) / DAY_MS) - left) }];
  });
}
