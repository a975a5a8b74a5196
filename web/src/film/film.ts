// The film of a level: fixed questions, checkpoint after checkpoint. Pure parts.
import type { Maybe } from '../data/types';

export interface Question {
  id: string;
  prompt: Maybe<string>;
  expected: Maybe<string>;
  target: Maybe<string>;
}

export interface Shot {
  answer: Maybe<string>;
  correct: boolean;
  reason: Maybe<string>;
  error: Maybe<string>;
}

export interface Frame {
  checkpoint: string;
  step: number;
  n: number;
  correct: number;
  at: string;
  /** Why there are no answers, empty when there are. */
  reason: string;
  answers: Record<string, Shot>;
}

export interface Film {
  skill: string;
  level: number;
  questions: Question[];
  frames: Frame[];
}

export interface Piece {
  text: string;
  kind: 'same' | 'gone' | 'new';
}

const LONGEST = 600;

/** What of `before` is gone and what of `after` is new, by the longest common subsequence of characters. */
export function diff(before: string, after: string): Piece[] {
  const [a, b] = [[...before], [...after]];
  if (a.length > LONGEST || b.length > LONGEST) return [{ text: before, kind: 'gone' }, { text: after, kind: 'new' }];
  const common = a.map(() => new Uint16Array(b.length + 1));
  common.push(new Uint16Array(b.length + 1));
  for (let i = a.length - 1; i >= 0; i--)
    for (let j = b.length - 1; j >= 0; j--)
      common[i]![j] = a[i] === b[j] ? common[i + 1]![j + 1]! + 1 : Math.max(common[i + 1]![j]!, common[i]![j + 1]!);
  const out: Piece[] = [];
  const put = (text: string, kind: Piece['kind']) => {
    const last = out.at(-1);
    if (last?.kind === kind) last.text += text;
    else out.push({ text, kind });
  };
  let [i, j] = [0, 0];
  while (i < a.length || j < b.length) {
    if (i < a.length && j < b.length && a[i] === b[j]) {
      put(a[i++]!, 'same');
      j++;
    } else if (j === b.length || (i < a.length && common[i + 1]![j]! >= common[i]![j + 1]!)) put(a[i++]!, 'gone');
    else put(b[j++]!, 'new');
  }
  return out;
}

/** The first frame from which a question stayed right to the end, null while it does not. */
export function learnedAt(frames: readonly Frame[], question: string): number | null {
  let from: number | null = null;
  for (const frame of frames) {
    const shot = frame.answers[question];
    if (!shot) continue;
    from = shot.correct ? (from ?? frame.step) : null;
  }
  return from;
}
