// The shared worker: one stream for the whole browser, handed on to every page that is in view.
import { Feed, type FeedMessage } from './feed';

export type PageMessage = { type: 'hello' | 'show' | 'hide' | 'bye' };

const pages = new Map<MessagePort, { visible: boolean }>();
const feed = new Feed(broadcast);

function broadcast(message: FeedMessage): void {
  const background = message.type === 'tick' || message.type === 'word' || message.type === 'snapshot';
  for (const [port, page] of pages) {
    if (page.visible || !background) port.postMessage(message);
  }
}

function greet(port: MessagePort): void {
  for (const message of feed.greeting()) port.postMessage(message);
}

function hear(port: MessagePort, message: PageMessage): void {
  if (message.type === 'bye') {
    pages.delete(port);
    if (pages.size === 0) feed.stop();
    return;
  }
  const known = pages.has(port);
  pages.set(port, { visible: message.type !== 'hide' });
  if (!known || message.type === 'show') greet(port);
  if (message.type === 'show') feed.resync();
  else feed.start();
}

addEventListener('connect', (event) => {
  const port = (event as MessageEvent).ports[0];
  if (!port) return;
  port.onmessage = (sent: MessageEvent<PageMessage>) => hear(port, sent.data);
});
