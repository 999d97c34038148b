// Who is remembered, when, and what strangers can do with tokens.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import { KEYS, until } from './service.mjs';
import { cookie, open, outcomes, visit } from './shop.mjs';

const HERO = `
  <section id="hero" data-rapport-placement="hero">
    <h2 data-rapport-field="headline">Our own headline</h2>
    <button data-rapport-dismiss>Not now</button>
  </section>`;

describe('a visitor', { timeout: 400_000 }, () => {
  let shop;
  before(async () => (shop = await open()));
  after(() => shop?.close());

  test('is not kept without consent', async (t) => {
    for (const consent of ['', 'data-consent="denied"', 'data-consent="perhaps"']) {
      const visitor = await visit(shop, t);
      const page = await visitor.open(shop.page(HERO, { head: shop.tag(consent) }));
      assert.equal(await page.textContent('h2'), 'Summer sale');
      assert.equal(await cookie(visitor.context), undefined, consent);
      await page.click('button');
      await until('the dismissal', () => visitor.sent('/v1/events').length > 0);
      assert.equal(await cookie(visitor.context), undefined, consent);
      assert.equal(await page.evaluate(() => sessionStorage.length), 0);
      const [{ visitorId }] = visitor.sent('/v1/events');
      assert.ok(visitorId, 'it is known to the page');
      assert.deepEqual(await outcomes(shop, visitorId, 'sale'), [], 'and to nobody else');
    }
  });

  test('with consent is known on the second page', async (t) => {
    const visitor = await visit(shop, t);
    const head = '<script>window.rapportConfig = { consent: () => Promise.resolve({ profiling: true, marketing: false }) }</script>' + shop.tag();
    const page = await visitor.open(shop.page(HERO, { head }));
    assert.equal(await page.textContent('h2'), 'Summer sale');
    const kept = await cookie(visitor.context);
    assert.equal(kept.sameSite, 'Lax');
    assert.equal(kept.path, '/');
    assert.deepEqual(visitor.sent('/v1/decide')[0].pageConsent, { profiling: 'PERMISSION_GRANTED', marketing: 'PERMISSION_DENIED' });
    await page.click('button');
    await until('the dismissal', async () => (await outcomes(shop, kept.value, 'sale')).includes('DISMISS'));
    const next = await visitor.open(shop.page(HERO, { head }));
    assert.equal(await next.textContent('h2'), 'A gift for you');
    assert.equal(visitor.sent('/v1/decide')[1].visitorId, kept.value);
  });

  test('may consent later, and take it back', async (t) => {
    const visitor = await visit(shop, t);
    const url = shop.page(HERO);
    const page = await visitor.open(url);
    await page.evaluate(() => window.rapport.consent({ profiling: true }));
    const { value } = await cookie(visitor.context);
    assert.match(value, /^[\w.~-]+$/);
    await page.evaluate(() => window.rapport.consent({ profiling: 'denied', marketing: 'denied' }));
    assert.equal(await cookie(visitor.context), undefined);
    await page.evaluate(() => window.rapport.refresh());
    assert.equal(await cookie(visitor.context), undefined);
    assert.equal(visitor.sent('/v1/decide')[1].pageConsent.profiling, 'PERMISSION_DENIED');
  });

  test('of earlier is neither used nor lost while consent is unknown', async (t) => {
    const visitor = await visit(shop, t);
    await visitor.open(shop.page(HERO, { head: shop.tag('data-consent="granted"') }));
    const { value } = await cookie(visitor.context);
    const page = await visitor.open(shop.page(HERO));
    assert.equal(visitor.sent('/v1/decide')[1].visitorId, undefined);
    assert.equal((await cookie(visitor.context)).value, value);
    await page.evaluate(() => window.rapport.consent('granted'));
    assert.equal((await cookie(visitor.context)).value, value);
  });

  test('takes over a page that the server rendered, without a second decision', async (t) => {
    const visitor = await visit(shop, t);
    const pageConsent = { profiling: 'PERMISSION_GRANTED' };
    const answer = await shop.service.call('/v1/decide', { placements: [{ placement: 'hero' }], pageConsent });
    const [{ presentationToken, data }] = answer.placements[0].presentations;
    const slot = `<section data-rapport-placement="hero" data-rapport-token="${presentationToken}"><h2>${data.headline}</h2><a href="#">See it</a></section>`;
    const page = await visitor.open(shop.page(slot, { head: shop.tag(`data-consent="granted" data-visitor="${answer.visitorId}"`) }));
    await page.click('a');
    await until('both', async () => (await outcomes(shop, answer.visitorId, 'sale')).join() === 'CLICK,IMPRESSION');
    assert.ok(!visitor.asked().includes('/v1/decide'));
    assert.equal((await cookie(visitor.context)).value, answer.visitorId);
    await page.evaluate(() => window.rapport.refresh());
    assert.ok(!visitor.asked().includes('/v1/decide'));
  });

  test("cannot use another visitor's token, and learns nothing from it", async (t) => {
    const victim = await visit(shop, t);
    const page = await victim.open(shop.page(HERO, { head: shop.tag('data-consent="granted"') }));
    const token = await page.evaluate(() => window.seen.filled[0].presentationToken);
    const victimId = (await cookie(victim.context)).value;

    const stranger = await visit(shop, t);
    const slot = `<section data-rapport-placement="hero" data-rapport-token="${token}"><h2>stolen</h2><button data-rapport-dismiss>x</button></section>`;
    const other = await stranger.open(shop.page(slot + HERO, { head: shop.tag('data-consent="granted"') }));
    await other.click('[data-rapport-token] button');
    await until('it is sent', () => stranger.sent('/v1/events').length > 0);
    const strangerId = (await cookie(stranger.context)).value;
    const words = [];
    for (const presentationToken of [token, token.slice(0, -4) + 'AAAA', 'x'.repeat(token.length)]) {
      const told = await other.evaluate(async ({ url, body }) => (await fetch(url, { method: 'POST', body })).json(), {
        url: `${shop.service.url}/v1/events?key=${KEYS.browser}`,
        body: JSON.stringify({ events: [{ outcome: { presentationToken, type: 'OUTCOME_TYPE_DISMISS' } }], visitorId: strangerId }),
      });
      assert.equal(told.results[0].status, 'RECORD_STATUS_REFUSED');
      words.push(told.results[0].error);
    }
    assert.equal(new Set(words).size, 1, words.join(' | '));
    assert.ok(!(await outcomes(shop, victimId, 'sale')).includes('DISMISS'));
    assert.deepEqual((await outcomes(shop, strangerId, 'sale')).filter((name) => name === 'DISMISS'), []);
  });
});
