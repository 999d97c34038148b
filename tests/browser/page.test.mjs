// A page decides, renders, and reports what followed.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import { until } from './service.mjs';
import { cookie, open, outcomes, visit } from './shop.mjs';

const HERO = `
  <section id="hero" data-rapport-placement="hero">
    <h2 data-rapport-field="headline">Our own headline</h2>
    <p data-rapport-field="text">Our own text</p>
    <a data-rapport-href="target" data-rapport-field="label" href="/own">Our own link</a>
    <button data-rapport-dismiss>Not now</button>
    <button data-rapport-decline="not_interested">Not for me</button>
  </section>`;

describe('a page', { timeout: 400_000 }, () => {
  let shop;
  before(async () => (shop = await open()));
  after(() => shop?.close());

  test('is filled and reports impression and click', async (t) => {
    const visitor = await visit(shop, t);
    const page = await visitor.open(shop.page(HERO, { head: shop.tag('data-consent="granted"') }));
    assert.equal(await page.textContent('h2'), 'Summer sale');
    assert.equal(await page.textContent('p'), 'Everything must go');
    assert.equal(await page.textContent('a'), 'See it all');
    const link = await page.getAttribute('a', 'href');
    assert.ok(link.startsWith(`${shop.service.url}/c/`), link);
    assert.equal(await page.evaluate(() => getComputedStyle(document.querySelector('#hero')).visibility), 'visible');
    const [told] = await page.evaluate(() => window.seen.filled);
    assert.equal(told.placement, 'hero');
    assert.equal(told.offer, 'sale');
    assert.match(told.decisionId, /^[0-9a-f-]{36}$/);

    const { value } = await cookie(visitor.context);
    await until('an impression', async () => (await outcomes(shop, value, 'sale')).includes('IMPRESSION'));
    await page.evaluate(() => document.querySelector('a').addEventListener('click', (event) => event.preventDefault()));
    await page.click('a');
    await page.click('a');
    await until('a click', async () => (await outcomes(shop, value, 'sale')).includes('CLICK'));
    assert.deepEqual(await outcomes(shop, value, 'sale'), ['CLICK', 'IMPRESSION']);
    const events = visitor.sent('/v1/events').flatMap((body) => body.events);
    assert.equal(events.length, 2, 'each outcome is sent once');
    // 400 days
    const days = ((await cookie(visitor.context)).expires * 1000 - Date.now()) / 86_400_000;
    assert.ok(days > 399 && days < 401, `${days} days`);
  });

  test('with ten placements makes one request, without a preflight', async (t) => {
    const names = ['hero', 'tiles', 'greeting', 'p1', 'p2', 'p3', 'p4', 'p5', 'p6', 'p7'];
    const slots = names.map((name) => `<div data-rapport-placement="${name}">own <i data-rapport-field="text"></i></div>`);
    const visitor = await visit(shop, t);
    const methods = [];
    visitor.context.on('request', (request) => methods.push(`${request.method()} ${new URL(request.url()).pathname}`));
    await visitor.open(shop.page(slots.join('')));
    assert.deepEqual(visitor.asked().filter((path) => path !== '/rapport.js'), ['/v1/decide']);
    assert.ok(!methods.some((method) => method.startsWith('OPTIONS')), methods.join());
    assert.deepEqual(visitor.sent('/v1/decide')[0].placements.map(({ placement }) => placement), names);
  });

  test('gives elements of one placement its presentations in turn', async (t) => {
    const visitor = await visit(shop, t);
    const tile = '<div data-rapport-placement="tiles"><b data-rapport-field="headline">own</b></div>';
    const page = await visitor.open(shop.page(tile + tile + tile));
    assert.deepEqual(visitor.sent('/v1/decide')[0].placements, [{ placement: 'tiles', count: 3 }]);
    assert.deepEqual(await page.locator('b').allTextContents(), ['Red', 'Blue', 'own']);
    assert.deepEqual(await page.evaluate(() => window.seen.kept.map(({ reason }) => reason)), ['empty']);
  });

  test('takes context and language from the page', async (t) => {
    const visitor = await visit(shop, t);
    const slots = '<p data-rapport-placement="aisle"><span data-rapport-field="text">own</span></p><p lang="de" data-rapport-placement="hero"><span data-rapport-field="headline">own</span></p>';
    const head = `<script>window.rapportConfig = { languages: () => ['de', 'en'] }</script>${shop.tag(`data-context='{"category": "kitchen"}'`)}`;
    const page = await visitor.open(shop.page(slots, { head }));
    assert.deepEqual(await page.locator('span').allTextContents(), ['For the kitchen & you', 'Sommerschlussverkauf']);
  });

  test('keeps its own HTML where there is nothing to say, and shows a declared fallback', async (t) => {
    const visitor = await visit(shop, t);
    const page = await visitor.open(shop.page(HERO + '<p data-rapport-placement="silent"><i data-rapport-field="text">own</i></p><p data-rapport-placement="misspelt">own too</p>', { head: shop.tag('data-consent="granted"') }));
    assert.equal(await page.textContent('i'), 'own');
    assert.equal(await page.textContent('[data-rapport-placement=misspelt]'), 'own too');
    const { value } = await cookie(visitor.context);
    for (const [offer, headline] of [['sale', 'A gift for you'], ['gift', 'Welcome to our shop']]) {
      await page.click('[data-rapport-dismiss]');
      assert.equal(await page.isVisible('#hero'), false);
      await until('the dismissal', async () => (await outcomes(shop, value, offer)).includes('DISMISS'));
      await page.evaluate(() => window.rapport.refresh());
      assert.equal(await page.textContent('h2'), headline);
      assert.equal(await page.isVisible('#hero'), true);
    }
    assert.equal(await page.getAttribute('a', 'href'), 'https://shop.example/');
  });

  test('hides what an offer does not give', async (t) => {
    const visitor = await visit(shop, t);
    const page = await visitor.open(shop.page(HERO, { head: shop.tag('data-consent="granted"') }));
    const { value } = await cookie(visitor.context);
    await page.click('[data-rapport-decline]');
    await until('the decline', async () => (await outcomes(shop, value, 'sale')).includes('DECLINE'));
    await page.evaluate(() => window.rapport.refresh());
    assert.equal(await page.textContent('h2'), 'A gift for you');
    assert.equal(await page.isVisible('a'), false, 'the gift has no label');
  });

  test('reports an impression only when half of it was seen for a second', async (t) => {
    const visitor = await visit(shop, t);
    const page = await visitor.open(shop.page(`<div class="tall"></div>${HERO}`, { head: shop.tag('data-consent="granted"') }));
    await page.waitForTimeout(1_500);
    assert.deepEqual(visitor.sent('/v1/events'), []);
    await page.evaluate(() => document.querySelector('#hero').scrollIntoView());
    const { value } = await cookie(visitor.context);
    await until('an impression', async () => (await outcomes(shop, value, 'sale')).includes('IMPRESSION'));
  });

  test('reports a conversion, on a later page too', async (t) => {
    const visitor = await visit(shop, t);
    const head = shop.tag('data-consent="granted"');
    const page = await visitor.open(shop.page(HERO, { head }));
    await page.evaluate(() => document.querySelector('a').addEventListener('click', (event) => event.preventDefault()));
    await page.click('a');
    await page.goto(shop.page('<p>Thank you for your order</p>', { head }));
    await page.waitForFunction(() => window.rapport?.ready);
    assert.equal(await page.evaluate(() => window.rapport.conversion('hero', { amount: '19.90', currency: 'GBP' })), true);
    assert.equal(await page.evaluate(() => window.rapport.conversion('tiles')), false);
    const { value } = await cookie(visitor.context);
    await until('a conversion', async () => (await outcomes(shop, value, 'sale')).includes('CONVERSION'));
  });

  test('sends what waits when it is left', async (t) => {
    const visitor = await visit(shop, t);
    const page = await visitor.open(shop.page(HERO, { head: shop.tag('data-consent="granted"') }));
    const { value } = await cookie(visitor.context);
    await page.evaluate((url) => {
      document.querySelector('#hero').addEventListener('click', () => setTimeout(() => (location.href = url)));
      document.querySelector('[data-rapport-dismiss]').click();
    }, shop.page('another page'));
    await until('a dismissal', async () => (await outcomes(shop, value, 'sale')).includes('DISMISS'));
  });
});
