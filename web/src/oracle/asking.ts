// What is asked of checkpoints and what came back: pure, so that the export and the diff can be tested.
import type { BodyOf } from '../data/api';
import type { Loaded, Reply } from './pool';

export interface Sampling {
  max_new_tokens: number;
  temperature: number;
  top_p: number;
  /** null: the oracle draws one. */
  seed: number | null;
}
export const GREEDY: Sampling = { max_new_tokens: 512, temperature: 0, top_p: 1, seed: null };

/** A fixed question of a skill's exam, with the right answer. */
export interface Question {
  skill: string;
  level: number;
  id: string;
  prompt: string;
  answer: string;
}

export interface Verdict {
  correct: boolean;
  expected: string | null;
  reason: string | null;
}

export interface Answer {
  asked: Loaded;
  reply: Reply | null;
  problem: string;
  verdict: Verdict | null;
}

export interface Turn {
  id: number;
  message: string;
  question: Question | null;
  sampling: Sampling;
  answers: Answer[];
}

/** The body of a chat request; values that mean nothing are left out. */
export function chatBody(message: string, model: Loaded, sampling: Sampling): BodyOf<'/oracle/chat'> {
  const { seed, temperature, max_new_tokens, top_p } = sampling;
  const drawn = temperature > 0 ? { temperature, top_p, ...(seed === null ? {} : { seed }) } : {};
  return { message, host: model.host, step: model.step, max_new_tokens, ...drawn };
}

/** One JSON line per answer: what was asked, how, and the seal of the weights that answered. */
export function exported(turns: readonly Turn[]): string {
  const lines = turns.flatMap((turn) =>
    turn.answers.flatMap(({ reply, verdict }) => {
      if (!reply) return [];
      const messages = [{ role: 'user', content: turn.message }, { role: 'assistant', content: reply.response }];
      const seal = { model: reply.model, step: reply.step, weights_sha256: reply.digest, host: reply.host };
      const exam = turn.question && { skill: turn.question.skill, level: turn.question.level, id: turn.question.id, expected: turn.question.answer };
      return [JSON.stringify({ messages, ...seal, sampling: turn.sampling, ...(exam && { exam }), ...(verdict && { correct: verdict.correct }) })];
    }),
  );
  return lines.map((line) => `${line}\n`).join('');
}
