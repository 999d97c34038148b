// Runs the example against a real service.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';

import { KEYS, startService } from '../../tests/browser/service.mjs';

const SERVER = fileURLToPath(new URL('server.mjs', import.meta.url));

/** Starts the example; answers its address. */
function startShop(t, rapportUrl) {
  const env = { ...process.env, PORT: '0', RAPPORT_URL: rapportUrl, RAPPORT_SECRET_KEY: KEYS.secret, RAPPORT_PUBLISHABLE_KEY: KEYS.browser };
  const child = spawn(process.execPath, [SERVER], { env, stdio: ['ignore', 'pipe', 'inherit'] });
  t.after(() => child.kill());
  return new Promise((done, failed) => {
    child.once('exit', () => failed(new Error('the example ended')));
    child.stdout.once('data', (line) => done(String(line).match(/http:\S+/)[0]));
  });
}

/** The page; asked for again while a busy machine does not answer in time. */
async function look(url, headers, wanted = /data-rapport-token/) {
  let response, html;
  for (let tries = 0; tries < 20; tries += 1) {
    response = await fetch(url, { headers });
    html = await response.text();
    if (wanted.test(html)) break;
  }
  return { response, html };
}

describe('the server-rendered page', { timeout: 120_000 }, () => {
  let service;
  before(async () => (service = await startService({ rules: fileURLToPath(new URL('../../rules', import.meta.url)) })));
  after(() => service?.stop());

  test('carries offers, and keeps a visitor only with consent', async (t) => {
    const url = await startShop(t, service.url);
    const first = await look(url, {});
    assert.equal(first.response.status, 200);
    assert.match(first.html, /data-rapport-placement="home_hero" data-rapport-token="[\w.~-]+"/);
    assert.match(first.html, new RegExp(`href="${service.url}/c/`));
    assert.match(first.html, /data-visitor="[\w.~-]+" data-consent="denied"/);
    assert.equal(first.response.headers.get('set-cookie'), null);
    assert.ok(!first.html.includes(KEYS.secret));

    const second = await look(url, { cookie: 'consent=granted' });
    const cookie = second.response.headers.get('set-cookie').split(';')[0];
    assert.match(cookie, /^rapport_visitor=[\w.~-]+$/);
    const third = await look(url, { cookie: `consent=granted; ${cookie}` });
    assert.equal(third.response.headers.get('set-cookie').split(';')[0], cookie, 'the visitor is known');
  });

  test('is shown when Rapport is not there', async (t) => {
    const url = await startShop(t, 'http://127.0.0.1:1');
    const { response, html } = await look(url, { cookie: 'consent=granted' }, /Gifts for every occasion/);
    assert.equal(response.status, 200);
    assert.match(html, /<section data-rapport-placement="home_hero">\s*<h2 data-rapport-field="headline">Gifts for every occasion</);
    assert.equal(response.headers.get('set-cookie'), null);
  });
});
