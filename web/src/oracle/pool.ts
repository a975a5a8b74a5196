// What the oracle's hosts hold in memory, read from /oracle/status; and the seal of an answer.

export interface Loaded {
  host: string;
  step: number;
  name: string;
  digest: string;
  bytes: number | null;
}

export interface HostState {
  id: string;
  reason: string;
  models: Loaded[];
}

const text = (value: unknown): string => (typeof value === 'string' ? value : '');
const number = (value: unknown): number | null => (typeof value === 'number' && Number.isFinite(value) ? value : null);

function stepOf(model: Record<string, unknown>): number | null {
  const named = /(\d+)/.exec(text(model.model ?? model.name));
  return number(model.step) ?? number(model.checkpoint_step) ?? (named ? Number(named[1]) : null);
}

export function hostsOf(status: unknown): HostState[] {
  const hosts = (status as { hosts?: Record<string, unknown> } | null)?.hosts ?? {};
  return Object.entries(hosts).map(([id, raw]) => {
    const host = (raw ?? {}) as Record<string, unknown>;
    const loaded = Array.isArray(host.loaded_models) ? (host.loaded_models as Record<string, unknown>[]) : [];
    const models = loaded.flatMap((model) => {
      const step = stepOf(model);
      if (step === null) return [];
      const name = text(model.model) || text(model.name) || (step === 0 ? 'base' : `checkpoint-${step}`);
      return [{ host: id, step, name, digest: text(model.weights_sha256) || text(model.digest), bytes: number(model.memory_bytes) ?? number(model.size_bytes) }];
    });
    return { id, reason: text(host.reason) || text(host.error), models: models.sort((a, b) => b.step - a.step) };
  });
}

export interface Reply {
  response: string;
  model: string;
  step: number | null;
  digest: string;
  host: string;
  tokensPerSecond: number | null;
}

/** The answer as the server sealed it; throws when it does not say which weights answered, or when others did. */
export function sealed(raw: unknown, asked: { step: number; host: string }): Reply {
  const reply = (raw ?? {}) as Record<string, unknown>;
  const step = number(reply.step);
  const digest = text(reply.weights_sha256);
  if (step === null || digest === '') throw new Error('The answer carries no seal: step or digest is missing. It is not shown.');
  if (step !== asked.step) throw new Error(`Step ${asked.step} was asked, step ${step} answered. The answer is not shown.`);
  return {
    response: text(reply.response), model: text(reply.model), step, digest, host: text(reply.host) || asked.host,
    tokensPerSecond: number(reply.tokens_per_s) ?? number(reply.tokens_per_second),
  };
}
