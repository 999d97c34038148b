// Whatever goes wrong, the page shows its own HTML, and soon.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import { KEYS, startService, until } from './service.mjs';
import { hiding, open, visit } from './shop.mjs';

const HERO = `<section data-rapport-placement="hero"><h2 data-rapport-field="headline">Our own headline</h2></section>`;

describe('a page', { timeout: 400_000 }, () => {
  let shop;
  before(async () => (shop = await open()));
  after(() => shop?.close());

  const own = async (page, reason) => {
    assert.equal(await page.textContent('h2'), 'Our own headline');
    assert.equal(await page.isVisible('h2'), true);
    assert.deepEqual(await page.evaluate(() => window.seen.kept.map((kept) => kept.reason)), [reason]);
  };
  const soon = async (page, t) => {
    const [{ ms, late }] = await hiding(page);
    t.diagnostic(`hidden for ${ms.toFixed(1)} ms`);
    assert.equal(late, false, `hidden for ${ms} ms`);
  };

  test('works beside scripts that fail', async (t) => {
    const visitor = await visit(shop, t);
    const errors = [];
    const head = `
      <script>throw new Error('before')</script>
      <script>window.rapportConfig = { consent() { throw new Error('consent') } }</script>
      ${shop.tag()}
      <script>
        addEventListener('DOMContentLoaded', () => { throw new Error('ready'); });
        document.addEventListener('rapport:filled', () => { throw new Error('filled'); });
        onerror = () => { throw new Error('again'); };
      </script>`;
    visitor.context.on('weberror', (error) => errors.push(error.error().message));
    const page = await visitor.open(shop.page(HERO, { head: head.replace('consent() { throw new Error(\'consent\') }', '') }));
    assert.equal(await page.textContent('h2'), 'Summer sale');
    await until('the errors', () => errors.length >= 3);
  });

  test('survives a consent hook that fails', async (t) => {
    const visitor = await visit(shop, t);
    const head = `<script>window.rapportConfig = { consent() { throw new Error('consent') } }</script>${shop.tag()}`;
    const page = await visitor.open(shop.page(HERO, { head }));
    await own(page, 'error');
  });

  test('shows its own HTML when Rapport is stopped', async (t) => {
    const stopped = await startService({ origins: [shop.origin] });
    t.after(() => stopped.stop());
    const visitor = await visit(shop, t, { patient: false });
    const head = `<script src="${stopped.url}/rapport.js" data-key="${KEYS.browser}" async></script>`;
    await visitor.open(shop.page(HERO, { head }));
    await stopped.stop();

    // the script is still in the browser's cache
    const cached = await visitor.open(shop.page(HERO, { head }));
    await own(cached, 'error');
    await soon(cached, t);

    // and here it is not
    const other = await visit(shop, t);
    const bare = await other.open(shop.page(HERO, { head }), { settled: false });
    assert.equal(await bare.textContent('h2'), 'Our own headline');
    assert.equal(await bare.isVisible('h2'), true);
    assert.equal(await bare.evaluate(() => window.rapport), undefined);
  });

  test('does not wait for a slow answer, and does not swap late', async (t) => {
    const visitor = await visit(shop, t, { patient: false });
    let answer;
    const released = new Promise((done) => (answer = done));
    await visitor.context.route('**/v1/decide*', async (route) => {
      await released;
      await route.continue();
    });
    const page = await visitor.open(shop.page(HERO));
    await own(page, 'timeout');
    await soon(page, t);
    const late = page.waitForResponse(/\/v1\/decide/);
    answer();
    await (await late).finished();
    // an answer in time would have been taken by the end of this one
    await visitor.context.unroute('**/v1/decide*');
    await page.evaluate(() => fetch(document.querySelector('script[data-key]').src, { cache: 'no-store' }).then((response) => response.text()));
    await own(page, 'timeout');
    await page.evaluate(() => window.rapport.refresh());
    assert.equal(await page.textContent('h2'), 'Summer sale');
  });

  test('works under a strict content security policy', async (t) => {
    const visitor = await visit(shop, t);
    const { url } = shop.service;
    const policy = `default-src 'none'; script-src ${url}; connect-src ${url}; style-src 'self'; base-uri 'none'; form-action 'none'`;
    const page = await visitor.open(shop.page(HERO, { headers: { 'content-security-policy': policy } }));
    assert.equal(await page.textContent('h2'), 'Summer sale');
    await until('an impression', () => visitor.sent('/v1/events').length > 0);
    assert.deepEqual(await page.evaluate(() => window.seen.violations), []);
  });

  test('keeps its own HTML whole where a policy forbids to read HTML', async (t) => {
    const visitor = await visit(shop, t);
    const headers = { 'content-security-policy': `require-trusted-types-for 'script'` };
    const page = await visitor.open(shop.page(HERO, { headers }));
    assert.equal(await page.textContent('h2'), 'Summer sale');
    const both = HERO.replace('</section>', '<p data-rapport-field="text">Our own text</p></section>');
    const other = await visitor.open(shop.page(both, { headers }));
    await own(other, 'empty');
    assert.equal(await other.textContent('p'), 'Our own text');
  });

  test('checks the integrity of the script', async (t) => {
    const visitor = await visit(shop, t);
    const index = await (await fetch(shop.service.url)).text();
    const tag = index.match(/<script src=.*<\/script>/)[0].replace('PUBLISHABLE_KEY', KEYS.browser);
    assert.match(tag, /integrity="sha384-/);
    const page = await visitor.open(shop.page(HERO, { head: tag }));
    assert.equal(await page.textContent('h2'), 'Summer sale');
    const wrong = tag.replace(/sha384-.{4}/, 'sha384-AAAA');
    const refused = await visitor.open(shop.page(HERO, { head: wrong }), { settled: false });
    assert.equal(await refused.textContent('h2'), 'Our own headline');
    assert.equal(await refused.evaluate(() => window.rapport), undefined);
  });

  test('is refused a secret key', async (t) => {
    const visitor = await visit(shop, t);
    const said = [];
    visitor.context.on('response', async (response) => response.url().includes('/v1/decide') && said.push(response.status()));
    const page = await visitor.open(shop.page(HERO, { head: shop.tag('', KEYS.secret) }));
    await own(page, 'error');
    assert.deepEqual(said, [403]);
    const response = await fetch(`${shop.service.url}/v1/decide`, {
      method: 'POST',
      headers: { 'x-api-key': KEYS.secret, origin: shop.origin, 'content-type': 'application/json' },
      body: '{}',
    });
    assert.match(await response.text(), /SECRET_KEY_IN_BROWSER/);
  });

  test('of another origin is refused', async (t) => {
    const stranger = await startService({ origins: ['https://elsewhere.example'] });
    t.after(() => stranger.stop());
    const visitor = await visit(shop, t);
    const head = `<script src="${stranger.url}/rapport.js" data-key="${KEYS.browser}" async></script>`;
    await own(await visitor.open(shop.page(HERO, { head })), 'error');
  });
});
