import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { Feed, type FeedMessage } from '../src/data/feed';
import type { Snapshot } from '../src/data/types';
import { event, snapshot } from './facts';

/** A server whose snapshot and streams the test holds in its hands. */
class Server {
  state: Snapshot = snapshot();
  snapshots = 0;
  down = false;
  asked: string[] = [];
  #stream: ReadableStreamDefaultController<Uint8Array> | null = null;

  fetch = (url: string, init?: RequestInit): Promise<Response> => {
    if (this.down) return Promise.reject(new TypeError('Failed to fetch'));
    if (url === '/api/snapshot') {
      this.snapshots += 1;
      return Promise.resolve(new Response(JSON.stringify(this.state)));
    }
    this.asked.push(url);
    const body = new ReadableStream<Uint8Array>({
      start: (controller) => {
        this.#stream = controller;
        init?.signal?.addEventListener('abort', () => controller.error(init.signal?.reason));
      },
    });
    return Promise.resolve(new Response(body));
  };

  send(text: string): void {
    this.#stream?.enqueue(new TextEncoder().encode(text));
  }
  sendEvent(seq: number, kind: string): void {
    this.send(`event: event\nid: ${seq}\ndata: ${JSON.stringify(event(seq, kind))}\n\n`);
  }
  end(): void {
    this.#stream?.close();
  }
}

let server: Server;
let heard: FeedMessage[];
let feed: Feed;
const settle = () => vi.advanceTimersByTimeAsync(20);
const links = () => heard.flatMap((message) => (message.type === 'link' ? [message.link] : []));

beforeEach(() => {
  vi.useFakeTimers();
  server = new Server();
  heard = [];
  feed = new Feed((message) => heard.push(message));
  vi.stubGlobal('fetch', server.fetch);
});
afterEach(() => {
  feed.stop();
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

describe('the feed', () => {
  it('takes a snapshot, then the stream after its cursor', async () => {
    feed.start();
    await settle();
    expect(heard[0]).toMatchObject({ type: 'snapshot' });
    expect(server.asked).toEqual(['/api/events?after=10']);
    expect(links()).toEqual(['live']);
  });

  it('asks for the snapshot once for a burst of events, at most once a second', async () => {
    feed.start();
    await settle();
    for (let seq = 11; seq < 31; seq++) server.sendEvent(seq, 'queue.added');
    await vi.advanceTimersByTimeAsync(900);
    expect(server.snapshots).toBe(1);
    await vi.advanceTimersByTimeAsync(200);
    expect(server.snapshots).toBe(2);
    server.sendEvent(31, 'battle.best_loss');
    await vi.advanceTimersByTimeAsync(3_000);
    expect(server.snapshots).toBe(2);
  });

  it('comes back after a restart and catches up from the last event it saw', async () => {
    feed.start();
    await settle();
    server.sendEvent(11, 'battle.best_loss');
    await settle();
    server.down = true;
    server.end();
    await vi.advanceTimersByTimeAsync(4_500);
    expect(links().at(-1)).toBe('reconnecting');
    server.down = false;
    server.state = snapshot({ cursor: 14 });
    await vi.advanceTimersByTimeAsync(6_000);
    expect(links().at(-1)).toBe('live');
    expect(server.asked.at(-1)).toBe('/api/events?after=11');
    server.sendEvent(12, 'hero.level_up');
    server.sendEvent(15, 'hero.level_up');
    await settle();
    const late = heard.flatMap((message) => (message.type === 'event' ? [[message.event.seq, message.late]] : []));
    expect(late).toEqual([[11, false], [12, true], [15, false]]);
  });

  it('starts at the new cursor when the log is another one', async () => {
    feed.start();
    await settle();
    server.end();
    server.state = snapshot({ cursor: 2 });
    await vi.advanceTimersByTimeAsync(1_500);
    expect(server.asked.at(-1)).toBe('/api/events?after=2');
  });

  it('leaves a stream that is silent for 45 s, but not one with heartbeats', async () => {
    feed.start();
    await settle();
    for (let i = 0; i < 8; i++) {
      await vi.advanceTimersByTimeAsync(15_000);
      server.send(': still here\n\n');
    }
    expect(links()).toEqual(['live']);
    await vi.advanceTimersByTimeAsync(52_000);
    expect(links()).toContain('reconnecting');
  });

  it('stops for good, and one start makes one stream', async () => {
    feed.start();
    feed.start();
    await settle();
    feed.stop();
    feed.start();
    await settle();
    expect(server.asked).toHaveLength(2);
    feed.stop();
    await vi.advanceTimersByTimeAsync(120_000);
    expect(server.asked).toHaveLength(2);
  });
});
