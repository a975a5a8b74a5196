import { describe, expect, it } from 'vitest';
import { addressOf, isInternal, pageOf, PAGES } from '../src/lib/router.svelte';

describe('addresses', () => {
  it.each([['/', 'tavern'], ['/quests', 'quests'], ['/quests/', 'quests'], ['/credits', 'credits'], ['/nowhere', 'lost'], ['/lost', 'lost'], ['/tavern', 'lost'], ['/quests/7', 'lost']])(
    '%s is %s', (address, page) => expect(pageOf(address)).toBe(page));
  it('lead back to their page', () => {
    for (const page of PAGES) if (page !== 'lost') expect(pageOf(addressOf(page))).toBe(page);
  });
});

describe('clicks on links', () => {
  const link = (more: object = {}) =>
    ({ target: '', origin: 'http://x', pathname: '/quests', hasAttribute: () => false, ...more }) as unknown as HTMLAnchorElement;
  const click = (more: object = {}) => ({ button: 0, defaultPrevented: false, metaKey: false, ctrlKey: false, shiftKey: false, altKey: false, ...more }) as unknown as MouseEvent;

  it('are ours for pages of this site', () => expect(isInternal(link(), click(), 'http://x')).toBe(true));
  it.each([[{ ctrlKey: true }], [{ metaKey: true }], [{ shiftKey: true }], [{ button: 1 }], [{ defaultPrevented: true }]])(
    'are the browser\'s with %j', (more) => expect(isInternal(link(), click(more), 'http://x')).toBe(false));
  it.each([[{ target: '_blank' }], [{ origin: 'http://y' }], [{ pathname: '/docs' }], [{ hasAttribute: () => true }]])(
    'are the browser\'s for link %j', (more) => expect(isInternal(link(more), click(), 'http://x')).toBe(false));
});
