// What a person did arrives, for whom it was, and only while they agree.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import { KEYS, until } from './service.mjs';
import { cookie, open, outcomes, visit } from './shop.mjs';

const HERO = `
  <section id="hero" data-rapport-placement="hero">
    <h2 data-rapport-field="headline">Our own headline</h2>
    <a href="#" data-rapport-field="label">Our own link</a>
    <i data-rapport-accept>Yes</i>
    <button data-rapport-dismiss>Not now</button>
  </section>`;

describe('an outcome', { timeout: 400_000 }, () => {
  let shop;
  let granted;
  before(async () => {
    shop = await open();
    granted = shop.tag('data-consent="granted"');
  });
  after(() => shop?.close());

  // Dismisses and is gone in the same moment.
  const leave = (page) =>
    page.evaluate((url) => {
      document.querySelector('[data-rapport-dismiss]').click();
      location.href = url;
    }, shop.page('another page'));
  const arrived = (visitorId, outcome) => until(outcome, async () => (await outcomes(shop, visitorId, 'sale')).includes(outcome));

  for (const policy of ['no-referrer', 'same-origin']) {
    test(`arrives under the referrer policy ${policy}`, async (t) => {
      const visitor = await visit(shop, t);
      const page = await visitor.open(shop.page(HERO, { head: granted, headers: { 'referrer-policy': policy } }));
      const { value } = await cookie(visitor.context);
      await page.click('i');
      await arrived(value, 'ACCEPT');
      await leave(page);
      await arrived(value, 'DISMISS');
    });
  }

  test('is sent by a beacon where requests cannot outlive the page', async (t) => {
    const visitor = await visit(shop, t);
    await visitor.context.addInitScript(() => delete Request.prototype.keepalive);
    const page = await visitor.open(shop.page(HERO, { head: granted }));
    const { value } = await cookie(visitor.context);
    await leave(page);
    await arrived(value, 'DISMISS');
  });

  test('is sent again when it did not arrive, and counts once', async (t) => {
    const visitor = await visit(shop, t);
    const page = await visitor.open(shop.page(HERO, { head: granted }));
    const { value } = await cookie(visitor.context);
    const failures = [(route) => route.abort(), ...[429, 503].map((status) => (route) => route.fulfill({ status, headers: { 'access-control-allow-origin': '*' } }))];
    let tries = 0;
    await visitor.context.route('**/v1/events*', (route) => (failures[tries++] || ((now) => now.continue()))(route));
    await page.click('button');
    await arrived(value, 'DISMISS');
    assert.ok(tries > failures.length);
    assert.deepEqual((await outcomes(shop, value, 'sale')).filter((name) => name === 'DISMISS'), ['DISMISS']);
    // what the service refuses is not repeated
    await visitor.context.unroute('**/v1/events*');
    let refused = 0;
    await visitor.context.route('**/v1/events*', (route) => (refused += 1) && route.fulfill({ status: 400, headers: { 'access-control-allow-origin': '*' } }));
    await page.evaluate(() => window.rapport.conversion('hero'));
    await until('a refusal', () => refused);
    await page.waitForTimeout(2_000);
    assert.equal(refused, 1);
  });

  test('of before is not sent once consent is taken back', async (t) => {
    const visitor = await visit(shop, t);
    const page = await visitor.open(shop.page(HERO, { head: granted }));
    const { value } = await cookie(visitor.context);
    const converted = await page.evaluate(() => {
      document.querySelector('a').click();
      document.querySelector('i').click();
      window.rapport.consent('denied');
      document.querySelector('i').click();
      return window.rapport.conversion('hero');
    });
    assert.equal(converted, false);
    assert.equal(await page.evaluate(() => sessionStorage.length), 0);
    await page.waitForTimeout(2_000);
    assert.deepEqual(visitor.sent('/v1/events'), []);
    await assert.rejects(shop.service.call('/v1/customers:get', { identities: [{ type: 'visitor_id', value }] }), /404/);
    // what is decided from now on is of nobody
    await page.evaluate(() => window.rapport.refresh());
    assert.equal(visitor.sent('/v1/decide')[1].visitorId, undefined);
    await page.click('button');
    await until('a dismissal', () => visitor.sent('/v1/events').length);
    assert.notEqual(visitor.sent('/v1/events')[0].visitorId, value);
    assert.equal(await cookie(visitor.context), undefined);
  });

  test('of a decision that was still on its way is not sent either', async (t) => {
    const visitor = await visit(shop, t);
    const page = await visitor.open(shop.page(HERO, { head: granted }));
    await page.evaluate(async () => {
      const asked = window.rapport.refresh();
      await new Promise((done) => setTimeout(done));
      window.rapport.consent('denied');
      await asked;
      document.querySelector('i').click();
    });
    await page.waitForTimeout(2_000);
    assert.deepEqual(visitor.sent('/v1/events'), []);
  });

  test('goes out with the visitor that it is of', async (t) => {
    const visitor = await visit(shop, t);
    const page = await visitor.open(shop.page(HERO, { head: granted }));
    const { value } = await cookie(visitor.context);
    await page.click('a');
    const { visitorId } = await shop.service.call('/v1/decide', { placements: [{ placement: 'hero' }] });
    await page.goto(shop.page(HERO.replace('"hero" data', '"other" data').replace('placement="hero"', 'placement="p1"'), { head: shop.tag(`data-consent="granted" data-visitor="${visitorId}"`) }));
    await page.waitForFunction(() => window.rapport?.ready.then(() => true));
    assert.equal(visitor.sent('/v1/decide')[1].visitorId, visitorId, 'the one of the page comes first');
    const before = visitor.sent('/v1/events').length;
    assert.equal(await page.evaluate(() => window.rapport.conversion('hero', { amount: 19.9, currency: 'GBP' })), true);
    await arrived(value, 'CONVERSION');
    const sent = visitor.sent('/v1/events').slice(before).find(({ events }) => events.some(({ outcome }) => outcome.type.endsWith('CONVERSION')));
    assert.equal(sent.visitorId, value);
  });

  test('may be what the visitor does, with consent only', async (t) => {
    const search = (page) => page.evaluate(() => window.rapport.event('search', { data: { words: 'lamp' } }));
    const visitor = await visit(shop, t);
    const page = await visitor.open(shop.page(HERO, { head: granted }));
    const { value } = await cookie(visitor.context);
    await search(page);
    const searches = async () => {
      const identities = [{ type: 'visitor_id', value }];
      const told = await shop.service.call('/v1/customers:timeline', { identities }).catch(() => ({ entries: [] }));
      return told.entries.filter(({ type, data }) => type === 'search' && data.words === 'lamp').length;
    };
    await until('the search', async () => (await searches()) === 1);
    // what JSON cannot say is left out, and so is what nobody permitted
    await page.evaluate(() => window.rapport.event('search', { data: { words: 1n } }));
    await page.evaluate(() => window.rapport.consent('denied'));
    await search(page);
    await page.waitForTimeout(1_000);
    assert.equal(visitor.sent('/v1/events').flatMap(({ events }) => events).filter(({ customer }) => customer).length, 1);
    assert.equal(await searches(), 1);
  });

  test('never hurts the page', async (t) => {
    const visitor = await visit(shop, t);
    const errors = [];
    visitor.context.on('weberror', (error) => errors.push(error.error().message));
    await visitor.context.addInitScript(() => {
      const refuse = { get() { throw new Error('blocked'); }, set() { throw new Error('blocked'); } };
      Object.defineProperty(window, 'sessionStorage', refuse);
      Object.defineProperty(document, 'cookie', refuse);
    });
    const page = await visitor.open(shop.page(HERO, { head: granted }));
    assert.equal(await page.textContent('h2'), 'Summer sale');
    await page.click('a');
    const told = await page.evaluate(() => {
      const { conversion, forget } = window.rapport;
      const values = [null, 7, 'x', {}, { amount: Symbol('a'), currency: 'GBP' }, { amount: { toString() { throw new Error('no'); } }, currency: 'GBP' }];
      const answers = values.map((value) => conversion('hero', value)).concat(conversion(), conversion('tiles', null));
      forget();
      return answers.concat(conversion('hero'));
    });
    assert.ok(told.every((answer) => typeof answer === 'boolean'), told.join());
    assert.equal(told.pop(), false);
    assert.deepEqual(errors, []);

    const other = await visit(shop, t);
    await other.context.addInitScript(() => (sessionStorage.rapport = '{'));
    const next = await other.open(shop.page(HERO, { head: granted }));
    assert.equal(await next.evaluate(() => window.rapport.conversion('tiles')), false);
    await next.click('a');
    assert.match(await next.evaluate(() => sessionStorage.rapport), /"hero":\{"token":/);
  });

  test('and the visitor are forgotten at log-out', async (t) => {
    const visitor = await visit(shop, t);
    const page = await visitor.open(shop.page(HERO, { head: granted }));
    const { value } = await cookie(visitor.context);
    await page.evaluate(() => {
      document.querySelector('a').click();
      window.rapport.forget();
    });
    assert.equal(await cookie(visitor.context), undefined);
    assert.equal(await page.evaluate(() => sessionStorage.length), 0);
    await arrived(value, 'CLICK');
    await page.evaluate(() => window.rapport.refresh());
    assert.equal(visitor.sent('/v1/decide')[1].visitorId, undefined);
    assert.notEqual((await cookie(visitor.context)).value, value);
  });
});

describe('a page', { timeout: 400_000 }, () => {
  let shop;
  before(async () => (shop = await open()));
  after(() => shop?.close());

  test('finds a service behind a path, with any key', async (t) => {
    const visitor = await visit(shop, t);
    const script = await (await fetch(`${shop.service.url}/rapport.js`)).text();
    const asked = [];
    await visitor.context.route('**/behind/**', async (route) => {
      const url = new URL(route.request().url());
      asked.push(url.pathname + url.search);
      if (url.pathname.endsWith('.js')) return route.fulfill({ body: script, contentType: 'text/javascript' });
      return route.fulfill({ response: await route.fetch({ url: `${shop.service.url}${url.pathname.replace('/behind', '')}?key=${KEYS.browser}` }) });
    });
    const page = await visitor.open(shop.page(HERO, { head: '<script src="/behind/rapport.js" data-key="a&amp;b#c" async></script>' }));
    assert.equal(await page.textContent('h2'), 'Summer sale');
    assert.deepEqual(asked, ['/behind/rapport.js', '/behind/v1/decide?key=a%26b%23c']);
  });

  test('lets go of places that left it', async (t) => {
    const visitor = await visit(shop, t);
    const page = await visitor.open(shop.page(HERO));
    assert.equal(await page.textContent('h2'), 'Summer sale');
    await page.evaluate(async () => {
      window.hero = document.querySelector('#hero');
      window.hero.remove();
      await window.rapport.refresh();
    });
    assert.equal(await page.evaluate(() => window.hero.querySelector('h2').textContent), 'Our own headline');
    assert.equal(await page.evaluate(() => window.rapport.conversion('hero')), false);
    await page.evaluate(async () => {
      document.querySelector('main').append(window.hero);
      await window.rapport.refresh();
    });
    assert.equal(await page.textContent('h2'), 'Summer sale');
    assert.equal(visitor.sent('/v1/decide').length, 2);
  });

  test('gets no empty links', async (t) => {
    const visitor = await visit(shop, t);
    const slot = '<section data-rapport-placement="hero"><a data-rapport-href="nothing" href="/own">x</a><img data-rapport-src="nothing" data-rapport-alt="nothing" src="/own.png" alt="own"></section>';
    const page = await visitor.open(shop.page(slot));
    assert.equal(await page.evaluate(() => window.seen.filled.length), 1);
    assert.deepEqual(await page.evaluate(() => ['href', 'src', 'alt'].map((name) => document.querySelector(`[data-rapport-${name}]`).getAttribute(name))), [null, null, '']);
  });
});
