// The router: the address bar is the state, links are plain links, the history is the browser's.

export const PAGES = [
  'tavern', 'quests', 'oracle', 'vault', 'guild', 'scheduler', 'settings', 'achievements', 'help', 'credits', 'begin', 'film', 'curves',
  'tasks', 'lost',
] as const;
export type Page = (typeof PAGES)[number];

/** Which page an address shows; "/" is the Tavern, unknown addresses are "lost". */
export function pageOf(pathname: string): Page {
  const name = pathname.replace(/\/+$/, '').slice(1);
  if (name === '') return 'tavern';
  return name !== 'lost' && name !== 'tavern' && (PAGES as readonly string[]).includes(name) ? (name as Page) : 'lost';
}

export const addressOf = (page: Page): string => (page === 'tavern' ? '/' : `/${page}`);

/** Whether a click on a link is ours to handle: same site, same window, no modifier, no download. */
export function isInternal(link: HTMLAnchorElement, click: MouseEvent, origin: string): boolean {
  if (click.defaultPrevented || click.button !== 0 || click.metaKey || click.ctrlKey || click.shiftKey || click.altKey) {
    return false;
  }
  if (link.target !== '' || link.hasAttribute('download') || link.origin !== origin) return false;
  return pageOf(link.pathname) !== 'lost';
}

class Router {
  pathname = $state(globalThis.location?.pathname ?? '/');
  search = $state(globalThis.location?.search ?? '');
  page = $derived(pageOf(this.pathname));

  #read(): void {
    this.pathname = location.pathname;
    this.search = location.search;
  }

  go(address: string, how: 'push' | 'replace' = 'push'): void {
    const leaves = new URL(address, location.href).pathname !== location.pathname;
    if (how === 'push') history.pushState(null, '', address);
    else history.replaceState(null, '', address);
    this.#read();
    if (leaves) {
      scrollTo(0, 0);
      document.getElementById('main')?.focus({ preventScroll: true });
    }
  }

  start(): void {
    addEventListener('popstate', () => this.#read());
    document.addEventListener('click', (click) => {
      const link = (click.target as Element | null)?.closest?.('a');
      if (!(link instanceof HTMLAnchorElement) || !isInternal(link, click, location.origin)) return;
      if (link.pathname === location.pathname && link.hash !== '') return;
      click.preventDefault();
      this.go(link.pathname + link.search + link.hash);
    });
  }
}

export const router = new Router();
