// Opening the shared worker under "require-trusted-types-for 'script'": the one script address this page may run.
import workerUrl from './feed.worker.ts?worker&url';

interface ScriptPolicy {
  createScriptURL(url: string): unknown;
}
interface PolicyFactory {
  createPolicy(name: string, rules: { createScriptURL(url: string): string }): ScriptPolicy;
}

function trusted(url: string): string {
  const factory = (globalThis as { trustedTypes?: PolicyFactory }).trustedTypes;
  if (!factory) return url;
  const policy = factory.createPolicy('realm-worker', {
    createScriptURL(asked) {
      if (asked !== workerUrl) throw new TypeError(`Not the Tavern's worker: ${asked}`);
      return asked;
    },
  });
  return policy.createScriptURL(url) as string;
}

/** The port of the shared worker, or null where the browser has none; onFailure runs when its script does not start. */
export function sharedPort(onFailure: () => void): MessagePort | null {
  if (typeof SharedWorker === 'undefined' || import.meta.env.DEV) return null;
  try {
    const worker = new SharedWorker(trusted(workerUrl), { name: 'realm-feed' });
    worker.onerror = onFailure;
    return worker.port;
  } catch {
    return null;
  }
}
