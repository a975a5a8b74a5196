// Evals as the server sends them.
import type { Maybe } from '../data/types';

export interface EvalRow {
  id: string;
  checkpoint: string;
  step: number;
  skill: string;
  level: number;
  kind: string;
  n: number;
  correct: number;
  static_n: Maybe<number>;
  static_correct: Maybe<number>;
  at: string;
  has_samples: boolean;
}

export interface Sample {
  id: string;
  prompt: Maybe<string>;
  answer: Maybe<string>;
  expected: Maybe<string>;
  target: Maybe<string>;
  reason: Maybe<string>;
  error: Maybe<string>;
  correct: boolean;
  static: boolean;
}

export type EvalSamples = EvalRow & { total: number; samples: Sample[] };
