// Requests to the Tavern. Every refusal becomes an ApiError with the server's own words.

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

export function getJson<T>(path: string, signal?: AbortSignal): Promise<T> {
  return ask<T>(path, signal ? { signal } : {});
}

export function postJson<T>(path: string, body: unknown = {}, more: Pick<RequestInit, 'signal' | 'keepalive'> = {}): Promise<T> {
  const headers = { 'Content-Type': 'application/json' };
  return ask<T>(path, { ...more, method: 'POST', headers, body: JSON.stringify(body) });
}

export function postFile<T>(path: string, file: Blob): Promise<T> {
  return ask<T>(path, { method: 'POST', headers: { 'Content-Type': 'application/x-ndjson' }, body: file });
}

/** What to say to a person about any thrown thing: message first, then what to do. */
export function wordsOf(error: unknown): string {
  if (error instanceof ApiError) return error.hint ? `${error.message} ${error.hint}` : error.message;
  return error instanceof Error ? error.message : String(error);
}
