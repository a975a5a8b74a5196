// Requests to the Tavern. Every refusal becomes an ApiError with the server's own words. Addresses and bodies are checked
// against the server's own description (openapi.json): an unknown route or a wrong body does not compile.
import type { paths } from '../generated/api';

/** An address as written in code: "/api/quests/{id}/rows" becomes any text that begins and ends so. */
type Filled<P extends string> = P extends `${infer Head}{${string}}${infer Tail}` ? `${Head}${string}${Filled<Tail>}` : P;
type Asked<P extends string> = Filled<P> | `${Filled<P>}?${string}`;
type With<M extends 'get' | 'post'> = { [P in keyof paths & string]: paths[P] extends Record<M, object> ? P : never }[keyof paths & string];
type Json<P extends With<'post'>> = paths[P]['post'] extends { requestBody: { content: { 'application/json': infer B } } } ? B : never;
export type Readable = Asked<With<'get'>>;
export type Orderable = Asked<With<'post'>>;
/** What the routes of an address take; of several that it may mean, any. */
export type BodyOf<A extends string> = { [P in With<'post'>]: A extends Asked<P> ? Json<P> : never }[With<'post'>];

export class ApiError extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
    readonly hint: string = '',
  ) {
    super(message);
    this.name = 'ApiError';
  }
}

async function failure(response: Response): Promise<ApiError> {
  const body: unknown = await response.json().catch(() => null);
  const error = (body as { error?: { code?: string; message?: string; hint?: string } } | null)?.error;
  const message = error?.message ?? `The server answered ${response.status} ${response.statusText}.`;
  return new ApiError(response.status, error?.code ?? 'http', message, error?.hint ?? '');
}

async function ask<T>(path: string, init: RequestInit): Promise<T> {
  let response: Response;
  try {
    response = await fetch(path, { cache: 'no-store', ...init });
  } catch (cause) {
    if (init.signal?.aborted) throw cause;
    throw new ApiError(0, 'unreachable', 'The Tavern does not answer.', 'Is it running? "realm weaver --status" shows it.');
  }
  if (!response.ok) throw await failure(response);
  return (await response.json()) as T;
}

export function getJson<T>(path: Readable, signal?: AbortSignal): Promise<T> {
  return ask<T>(path, signal ? { signal } : {});
}

export function postJson<A extends Orderable>(
  path: A, body: BodyOf<A>, more: Pick<RequestInit, 'signal' | 'keepalive'> = {},
  // eslint-disable-next-line @typescript-eslint/no-explicit-any -- the caller names what it expects; the routes do not say
): Promise<any> {
  const headers = { 'Content-Type': 'application/json' };
  return ask<unknown>(path, { ...more, method: 'POST', headers, body: JSON.stringify(body) });
}

export function postFile<T>(path: Orderable, file: Blob): Promise<T> {
  return ask<T>(path, { method: 'POST', headers: { 'Content-Type': 'application/x-ndjson' }, body: file });
}

/** What to say to a person about any thrown thing: message first, then what to do. */
export function wordsOf(error: unknown): string {
  if (error instanceof ApiError) return error.hint ? `${error.message} ${error.hint}` : error.message;
  return error instanceof Error ? error.message : String(error);
}
