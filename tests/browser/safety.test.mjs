// Nothing that a customer or a careless author wrote runs, and nothing moves.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import { cookie, open, visit } from './shop.mjs';

/** What an attacker calls themselves. */
const NAMES = [
  `<script>fired('script')</script>`,
  `</b></p><script>fired('closed')</script>`,
  `<img src=x onerror="fired('img')">`,
  `<svg/onload=fired('svg')>`,
  `<svg><animate onbegin=fired('animate') attributeName=x dur=1s>`,
  `<math><mtext><table><mglyph><style><!--</style><img title="--&gt;&lt;img src=1 onerror=fired('mutated')&gt;">`,
  `<iframe srcdoc="<script>parent.fired('iframe')</script>"></iframe>`,
  `<details open ontoggle=fired('toggle')>`,
  `<a href="javascript:fired('link')">x</a>`,
  `javascript:fired('scheme')`,
  `JaVaScRiPt:fired('case')`,
  ` java\tscript:fired('tab')`,
  `data:text/html,<script>opener.fired('data')</script>`,
  `vbscript:fired('vb')`,
  `" onmouseover="fired('quote')`,
  `' autofocus onfocus='fired("single")`,
  `\${fired('template')}{{fired('braces')}}`,
];

const FIELDS = `
  <div data-rapport-placement="greeting">
    <b data-rapport-field="headline">own</b>
    <a id="link" data-rapport-href="headline" data-rapport-field="text" href="/own">own</a>
    <a id="search" data-rapport-href="search">own</a>
    <img data-rapport-src="headline" data-rapport-alt="headline" width="10" height="10">
    <script type="text/plain" data-rapport-field="headline"></script>
  </div>`;
const HTML = '<div id="html" data-rapport-placement="greeting" data-rapport-html>own</div>';

// What ran, after what the page still has to do.
const fired = () => new Promise((done) => setTimeout(() => done(window.seen.fired)));

const shifted = (page) =>
  page.evaluate(() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(() => done(window.seen.shifted))))));

describe('content', { timeout: 400_000 }, () => {
  let shop;
  before(async () => (shop = await open()));
  after(() => shop?.close());

  test('of a customer never runs', async (t) => {
    const visitor = await visit(shop, t);
    const head = shop.tag('data-consent="granted"');
    const fields = await visitor.open(shop.page(FIELDS, { head }));
    const html = await visitor.open(shop.page(HTML, { head }));
    const { value } = await cookie(visitor.context);
    assert.equal(await fields.textContent('b'), 'friend');
    // links to pages lead nowhere here; others would run
    await fields.evaluate(() => addEventListener('click', (event) => /^https?:$/.test(event.target.protocol) && event.preventDefault()));
    for (const [at, name] of NAMES.entries()) {
      const identities = [{ type: 'customer_id', value: 'attacker' }, { type: 'visitor_id', value }];
      await shop.service.call('/v1/customers:upsert', { identities, attributes: { first_name: name } });
      for (const page of [fields, html]) await page.evaluate(() => window.rapport.refresh());

      assert.equal(await fields.textContent('b'), name, `${at}: shown as text`);
      assert.equal(await fields.textContent('#link'), `Hello ${name}`);
      const links = await fields.evaluate(() => [...document.querySelectorAll('a')].map((link) => (link.click(), link.protocol)));
      for (const protocol of links) assert.match(protocol, /^(https?)?:$/, `${at}: ${name}`);
      assert.doesNotMatch(await fields.evaluate(() => document.querySelector('img').src), /^(javascript|vbscript|data):/i);

      assert.equal(await html.textContent('b'), name, `${at}: shown as text in HTML`);
      const nodes = await html.evaluate(() => [...document.querySelectorAll('#html *')].map((node) => node.tagName));
      assert.deepEqual(nodes, ['P', 'B', 'A'], `${at}: ${name}`);
      for (const page of [fields, html]) assert.deepEqual(await page.evaluate(fired), [], `${at}: ${name}`);
    }
    assert.equal(fields.url().startsWith(shop.origin), true);
  });

  test('that an author wrote is cleaned', async (t) => {
    const visitor = await visit(shop, t);
    const head = shop.tag(`data-context='{"category": "garden"}'`);
    const page = await visitor.open(shop.page('<div id="slot" data-rapport-placement="aisle" data-rapport-html>own</div>', { head }));
    const html = await page.innerHTML('#slot');
    assert.equal(html, '<h2>Garden</h2><img src="x" alt="x"><a>a</a><p data-rapport-dismiss="">Put away</p>');
    await page.click('#slot a');
    await page.click('#slot h2');
    assert.deepEqual(await page.evaluate(fired), []);
    await page.click('#slot p');
    assert.equal(await page.isVisible('#slot'), false);
  });

  const long = (more) => `
    <div>Shop</div>
    <section data-rapport-placement="hero" ${more}><h2 data-rapport-field="headline">A headline of our own that is so long that it takes two lines of the page</h2><p data-rapport-field="text">x</p></section>
    <div>What follows</div>
    <section data-rapport-placement="greeting" data-rapport-html ${more}>one line</section>
    <div>What follows then</div>
    <section data-rapport-placement="aisle" data-rapport-html ${more}>one line</section>
    <div>The end</div>`;

  test('moves nothing', async (t) => {
    const visitor = await visit(shop, t);
    const head = shop.tag(`data-context='{"category": "garden"}'`);
    const page = await visitor.open(shop.page(long(''), { head }));
    assert.equal(await page.evaluate(() => window.seen.filled.length), 3);
    assert.equal(await shifted(page), 0);
    // only what does not fit scrolls
    const overflows = await page.evaluate(() => [...document.querySelectorAll('section')].map((slot) => getComputedStyle(slot).overflow));
    assert.deepEqual(overflows, ['visible', 'visible', 'auto']);

    // the same page without the care moves
    const other = await visitor.open(shop.page(long('data-rapport-grow'), { head }));
    assert.ok((await shifted(other)) > 0);
  });

  test('takes the room it needs where there was none, and when the window changes', async (t) => {
    const visitor = await visit(shop, t);
    const none = '<section id="none" data-rapport-placement="tiles"><h2 data-rapport-field="headline"></h2></section>';
    const page = await visitor.open(shop.page(none + long('')));
    assert.ok((await page.evaluate(() => document.querySelector('#none').offsetHeight)) > 0);
    const height = () => page.evaluate(() => document.querySelector('[data-rapport-placement=hero]').style.height);
    assert.match(await height(), /px$/);
    await page.setViewportSize({ width: 500, height: 700 });
    await page.waitForFunction(() => !document.querySelector('[data-rapport-placement=hero]').style.height);
  });
});
