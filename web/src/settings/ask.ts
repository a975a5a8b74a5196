// Requests whose refusal names fields: the answer, or the server's words with what is wrong where.

export type Fields = Record<string, string>;
export type Answer<T> = { value: T } | { message: string; fields: Fields; status: number };

interface ErrorBody {
  error?: { message?: string; hint?: string; facts?: { fields?: Fields } };
}

/** What a refusal says: the message with its hint, and the fields it names. */
export function refusal(status: number, body: unknown): { message: string; fields: Fields; status: number } {
  const error = (body as ErrorBody | null)?.error;
  const message = [error?.message ?? `HTTP ${status}`, error?.hint].filter(Boolean).join('. ');
  return { message, fields: error?.facts?.fields ?? {}, status };
}

export async function post<T>(path: string, body: unknown, signal?: AbortSignal): Promise<Answer<T>> {
  const response = await fetch(path, {
    method: 'POST', cache: 'no-store', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body),
    ...(signal ? { signal } : {}),
  });
  const answer: unknown = await response.json().catch(() => null);
  return response.ok ? { value: answer as T } : refusal(response.status, answer);
}
