// The service's own JSON calls, same origin, no key.

// The service answered, and refused.
export class Refused extends Error {
  constructor(status, body) {
    super(body?.message || `the service answered ${status}`);
    this.status = status;
    const bad = (body?.details || []).find((detail) => detail.fieldViolations);
    this.fields = bad?.fieldViolations || [];
  }

  // The message with what is wrong, for people.
  get told() {
    const first = this.fields[0];
    return first ? `${this.message}: ${first.field} ${first.description}` : this.message;
  }
}

// The service did not answer.
export class Unreachable extends Error {}

const GIVE_UP_MS = 10_000;

async function reach(path, init) {
  let response;
  try {
    response = await fetch(path, { cache: 'no-store', credentials: 'omit', ...init });
  } catch (error) {
    if (init?.signal?.aborted && error?.name !== 'TimeoutError') throw error;
    throw new Unreachable(`no answer from ${path}`);
  }
  if (response.status >= 502 && response.status <= 504) throw new Unreachable(`no answer from ${path}`);
  if (response.ok) return response;
  throw new Refused(response.status, await response.json().catch(() => null));
}

const posted = (body, signal) => ({
  method: 'POST',
  headers: { 'content-type': 'application/json' },
  body: JSON.stringify(body),
  signal,
});

export async function call(path, body) {
  const response = await reach(path, posted(body, AbortSignal.timeout(GIVE_UP_MS)));
  return answer(response, path);
}

export async function look(path) {
  const response = await reach(path, { signal: AbortSignal.timeout(GIVE_UP_MS) });
  return answer(response, path);
}

async function answer(response, path) {
  try {
    return await response.json();
  } catch {
    throw new Unreachable(`half an answer from ${path}`);
  }
}

// The messages of a stream, a line each, until it ends or is ended.
export async function* lines(path, body, signal) {
  const response = await reach(path, posted(body, signal));
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = '';
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const parts = (rest + value).split('\n');
    rest = parts.pop();
    for (const part of parts) if (part.trim()) yield JSON.parse(part);
  }
}
