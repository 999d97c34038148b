// A real service on a private port, with keys, ended by the test that started it.
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const BINARY = process.env.SERVICE_BINARY ?? join(process.env.CARGO_TARGET_DIR ?? join(ROOT, 'target'), 'debug/rapport');
const START_TIMEOUT_MS = 60_000;
const STOP_TIMEOUT_MS = 30_000;

/** The keys of every service that is started here. */
export const KEYS = { browser: 'pk-browser', secret: 'sk-secret-admin' };

/** A port that nobody listens on. */
export const freePort = () =>
  new Promise((done, failed) => {
    const server = createServer().on('error', failed);
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address();
      server.close(() => done(port));
    });
  });

/** Starts a service that takes browsers from these origins. */
export async function startService({ origins = [], rules = join(ROOT, 'tests/browser/rules') } = {}) {
  const directory = await mkdtemp(join(tmpdir(), 'rapport-browser-'));
  const hash = (key) => createHash('sha256').update(key).digest('hex');
  const keys = join(directory, 'keys');
  await writeFile(keys, `page browser ${hash(KEYS.browser)}\nshop admin ${hash(KEYS.secret)}\n`);
  const address = `127.0.0.1:${await freePort()}`;
  const url = `http://${address}`;
  const args = ['serve', '--listen', address, '--private-listen', '127.0.0.1:0', '--public-url', url];
  args.push('--data-dir', join(directory, 'data'), '--rules', rules, '--api-keys', keys, '--log-level', 'warn');
  for (const origin of origins) args.push('--cors-origin', origin);
  const child = spawn(BINARY, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  const ended = new Promise((done) => child.once('close', done));
  await listening(child);
  return {
    url,
    address,
    /** A call with the secret key. */
    async call(path, body) {
      const method = body === undefined ? 'GET' : 'POST';
      const headers = { 'x-api-key': KEYS.secret, 'content-type': 'application/json' };
      const response = await fetch(url + path, { method, headers, body: body && JSON.stringify(body) });
      const answer = await response.json();
      if (!response.ok) throw new Error(`${path}: ${response.status} ${JSON.stringify(answer)}`);
      return answer;
    },
    async stop() {
      const killed = setTimeout(() => child.kill('SIGKILL'), STOP_TIMEOUT_MS);
      if (child.exitCode === null) child.kill('SIGTERM');
      await ended;
      clearTimeout(killed);
      await rm(directory, { recursive: true, force: true });
    },
  };
}

function listening(child) {
  return new Promise((done, failed) => {
    let said = '';
    const late = setTimeout(() => end('it did not start in time'), START_TIMEOUT_MS);
    const hear = (chunk) => {
      said += chunk;
      if (/listening on \S+/.test(said)) {
        clearTimeout(late);
        done();
      }
    };
    const end = (why) => {
      clearTimeout(late);
      child.kill('SIGKILL');
      failed(new Error(`${BINARY}: ${why}\n${said}`));
    };
    child.stdout.on('data', hear);
    child.stderr.on('data', hear);
    child.once('error', (error) => end(error.message));
    child.once('exit', (code) => end(`it ended with ${code}`));
  });
}

/** Looks until something is true; fails when that takes longer than 20 seconds. */
export async function until(what, look) {
  const deadline = Date.now() + 20_000;
  for (;;) {
    const seen = await look();
    if (seen) return seen;
    if (Date.now() > deadline) throw new Error(`not in time: ${what}`);
    await new Promise((done) => setTimeout(done, 50));
  }
}
