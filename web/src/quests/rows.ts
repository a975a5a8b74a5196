// A training row as messages to read; anything else is shown as it is.

export interface RowMessage {
  role: string;
  content: string;
}

export function messagesOf(row: unknown): RowMessage[] {
  const messages = (row as { messages?: unknown } | null)?.messages;
  if (!Array.isArray(messages)) return [{ role: 'row', content: JSON.stringify(row, null, 1) }];
  return messages.map((message: unknown) => {
    const { role, content } = (message ?? {}) as { role?: unknown; content?: unknown };
    return { role: String(role ?? '?'), content: typeof content === 'string' ? content : JSON.stringify(content) };
  });
}
