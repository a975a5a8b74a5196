// A row as the hero reads it, from /api/quests/{id}/tokens.
import type { Maybe } from '../data/types';

export interface Token {
  id: number;
  text: string;
  trained: boolean;
  scanned: boolean;
}

export interface TokenRow {
  row: number;
  tokens: Token[];
  segments: { role: string; begin: number; end: number; trained: number; answers: boolean }[];
  length: number;
  trained: number;
  masked_share: number;
  max_length: number;
  methods_agree: boolean;
  differs_at: Maybe<number>;
  reason: Maybe<string>;
}

export interface Run {
  text: string;
  trained: boolean;
}

/** Neighbouring tokens of the same kind as one piece of text. */
export function runs(tokens: readonly Token[]): Run[] {
  const out: Run[] = [];
  for (const { text, trained } of tokens) {
    const last = out.at(-1);
    if (last?.trained === trained) last.text += text;
    else out.push({ text, trained });
  }
  return out;
}
