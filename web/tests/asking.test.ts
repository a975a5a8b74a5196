import { describe, expect, it } from 'vitest';
import { between, overlay, parseRanges, rangesText } from '../src/curves/ranges';
import { diff, learnedAt, type Frame } from '../src/film/film';
import { chatBody, exported, GREEDY, type Turn } from '../src/oracle/asking';

const model = { host: 'box', step: 100, name: 'checkpoint-100', digest: 'ab', bytes: null };

describe('asking', () => {
  it('leaves out what means nothing to a greedy answer', () => {
    expect(chatBody('hi', model, { ...GREEDY, seed: 7 })).toEqual({ message: 'hi', host: 'box', step: 100, max_new_tokens: 512 });
    expect(chatBody('hi', model, { ...GREEDY, temperature: 0.5, seed: 7 })).toMatchObject({ temperature: 0.5, top_p: 1, seed: 7 });
  });
  it('exports one line for every answer that carries a seal', () => {
    const reply = { response: '2', model: 'checkpoint-100', step: 100, digest: 'abc', host: 'box', tokensPerSecond: null };
    const question = { skill: 'bin', level: 1, id: 'q', prompt: 'p', answer: '2' };
    const turn: Turn = {
      id: 1, message: 'p', question, sampling: GREEDY,
      answers: [{ asked: model, reply, problem: '', verdict: { correct: true, expected: '2', reason: null } }, { asked: model, reply: null, problem: 'gone', verdict: null }],
    };
    const lines = exported([turn]).trim().split('\n').map((line) => JSON.parse(line) as Record<string, unknown>);
    expect(lines).toHaveLength(1);
    expect(lines[0]).toMatchObject({ step: 100, weights_sha256: 'abc', correct: true, exam: { skill: 'bin', expected: '2' } });
  });
});

describe('film', () => {
  it('tells what went and what came', () => {
    expect(diff('add = 10', 'add = 110')).toEqual([{ text: 'add = 1', kind: 'same' }, { text: '1', kind: 'new' }, { text: '0', kind: 'same' }]);
    expect(diff('', 'x')).toEqual([{ text: 'x', kind: 'new' }]);
    expect(diff('same', 'same')).toEqual([{ text: 'same', kind: 'same' }]);
  });
  it('says since when a question stays right', () => {
    const frame = (step: number, correct: boolean): Frame =>
      ({ checkpoint: `c${step}`, step, n: 1, correct: 0, at: '', reason: '', answers: { q: { answer: '', correct, reason: null, error: null } } });
    expect(learnedAt([frame(1, true), frame(2, false), frame(3, true), frame(4, true)], 'q')).toBe(3);
    expect(learnedAt([frame(1, true), frame(2, false)], 'q')).toBeNull();
  });
});

describe('ranges', () => {
  it('reads at most six from the address and drops what is none', () => {
    expect(parseRanges('0-10,20-10,x,5-5')).toEqual([{ from: 0, to: 10 }, { from: 10, to: 20 }]);
    expect(parseRanges(Array.from({ length: 9 }, (_, i) => `${i}-${i + 1}`).join(','))).toHaveLength(6);
    expect(parseRanges(rangesText([{ from: 3, to: 9 }]))).toEqual([{ from: 3, to: 9 }]);
  });
  it('lays curves over each other at 0', () => {
    const point = (x: number, last: number) => ({ x, last, min: last, max: last });
    const curves = [{ range: { from: 10, to: 20 }, points: [point(10, 1), point(12, 2)] }, { range: { from: 100, to: 110 }, points: [point(102, 5)] }];
    expect(overlay(curves, true)).toEqual({ x: [0, 2], values: [[1, 2], [null, 5]] });
    expect(overlay(curves, false).x).toEqual([10, 12, 102]);
  });
  it('offers what lies between checkpoints, the newest first', () => {
    expect(between([200, 100])).toEqual([{ from: 100, to: 200 }, { from: 0, to: 100 }]);
  });
});
