import { describe, expect, it } from 'vitest';
import { LONGEST_WAIT_MS, waitBefore } from '../src/data/feed';
import { StreamParser } from '../src/data/sse';

const TEXT = ': open\n\nevent: event\nid: 7\ndata: {"seq":7}\n\nevent: tick\ndata: {"a":\ndata: 1}\n\n: still here\n\n';
const WANTED = [
  { event: 'comment', id: '', data: 'open' },
  { event: 'event', id: '7', data: '{"seq":7}' },
  { event: 'tick', id: '7', data: '{"a":\n1}' },
  { event: 'comment', id: '7', data: 'still here' },
];

describe('the stream', () => {
  it('is read whole', () => expect(new StreamParser().push(TEXT)).toEqual(WANTED));
  it.each(['\n', '\r\n', '\r'])('is the same however it is cut, line ends %j', (end) => {
    const text = TEXT.replaceAll('\n', end);
    for (let size = 1; size < 9; size++) {
      const parser = new StreamParser();
      const out = [];
      for (let at = 0; at < text.length; at += size) out.push(...parser.push(text.slice(at, at + size)));
      out.push(...parser.push('\n'));
      expect(out).toEqual(WANTED);
    }
  });
  it('sends nothing for an event without data', () => expect(new StreamParser().push('event: tick\n\n')).toEqual([]));
});

describe('waiting before a new try', () => {
  it('doubles from one second to thirty and spreads by a quarter at most', () => {
    expect([0, 1, 2, 3, 4, 5, 40].map((n) => waitBefore(n, () => 0))).toEqual([1_000, 2_000, 4_000, 8_000, 16_000, 30_000, LONGEST_WAIT_MS]);
    expect(waitBefore(0, () => 1)).toBe(1_250);
  });
});
