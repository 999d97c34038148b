// A little shop on an origin of its own, and a browser that looks at it.
import { createServer } from 'node:http';
import { existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { chromium } from 'playwright-core';

import { KEYS, startService } from './service.mjs';

/** What no page needs longer for. */
export const TIMEOUT_MS = 20_000;

const STYLE = `
  body { margin: 0; font: 16px/1.5 sans-serif; }
  main { width: 600px; }
  [data-rapport-placement] { padding: 0 8px; }
  .tall { height: 3000px; }
`;

/** A shop, a service that knows its origin, and a browser. */
export async function open() {
  const pages = new Map([['/shop.css', { body: STYLE, type: 'text/css' }]]);
  const server = createServer((request, response) => {
    const page = pages.get(new URL(request.url, 'http://shop').pathname);
    response.writeHead(page ? 200 : 404, { 'content-type': page?.type ?? 'text/html; charset=utf-8', ...page?.headers });
    response.end(page?.body ?? '');
  });
  await new Promise((done) => server.listen(0, '127.0.0.1', done));
  const origin = `http://127.0.0.1:${server.address().port}`;
  server.unref(); // a start that fails ends the tests
  const service = await startService({ origins: [origin] });
  const browser = await chromium.launch({ executablePath: executable(), args: ['--no-sandbox', '--disable-dev-shm-usage'] });
  let count = 0;
  const shop = {
    origin,
    service,
    browser,
    /** The tag of a page, with further attributes. */
    tag: (more = '', key = KEYS.browser) => `<script src="${service.url}/rapport.js" data-key="${key}" ${more} async></script>`,
    /** Serves a page and answers its address. */
    page(body, { head = shop.tag(), headers = {} } = {}) {
      const path = `/page-${(count += 1)}`;
      const start = `<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Shop</title><link rel="stylesheet" href="/shop.css">`;
      pages.set(path, { body: `${start}${head}</head><body><main>${body}</main></body></html>`, headers });
      return origin + path;
    },
    async close() {
      await browser.close();
      await service.stop();
      server.closeAllConnections();
      await new Promise((done) => server.close(done));
    },
  };
  return shop;
}

/** The Chromium that is there. */
export function executable() {
  const names = ['chromium', 'chromium-browser', 'google-chrome'];
  const inPath = (process.env.PATH ?? '').split(delimiter).flatMap((directory) => names.map((name) => join(directory, name)));
  const found = [process.env.CHROMIUM, ...inPath].find((path) => path && existsSync(path));
  if (!found) throw new Error('no Chromium: install one, or name it in CHROMIUM');
  return found;
}

/**
 * A browser profile of its own; what its pages see is kept in `window.seen`.
 * Pages wait longer for answers, so that a busy machine changes no result,
 * unless the test is about time.
 */
export async function visit(shop, t, { patient = true } = {}) {
  const context = await shop.browser.newContext();
  t.after(() => context.close());
  context.setDefaultTimeout(TIMEOUT_MS);
  await context.addInitScript(watch);
  if (patient) await context.addInitScript(wait, TIMEOUT_MS);
  const requests = [];
  context.on('request', (request) => {
    if (request.url().startsWith(shop.service.url)) requests.push(request);
  });
  return {
    context,
    /** Paths that were asked of the service, without queries. */
    asked: () => requests.map((request) => new URL(request.url()).pathname),
    /** Bodies that were sent to a path. */
    sent: (path) => requests.filter((r) => new URL(r.url()).pathname === path && r.method() === 'POST').map((r) => JSON.parse(r.postData())),
    /** Opens a page and waits until Rapport is done with it. */
    async open(url, { settled = true } = {}) {
      const page = await context.newPage();
      await page.goto(url, { waitUntil: 'load' });
      if (settled) {
        await page.waitForFunction(() => window.rapport?.ready);
        await page.evaluate(() => window.rapport.ready);
      }
      return page;
    },
  };
}

// Runs in the page before anything else.
function watch() {
  const seen = { filled: [], kept: [], shifted: 0, violations: [], fired: [], hidden: new Map() };
  window.seen = seen;
  window.fired = (what) => seen.fired.push(what);
  document.addEventListener('rapport:filled', (event) => seen.filled.push(event.detail));
  document.addEventListener('rapport:kept', (event) => seen.kept.push(event.detail));
  document.addEventListener('securitypolicyviolation', (event) => seen.violations.push(event.violatedDirective));
  new PerformanceObserver((list) => {
    for (const entry of list.getEntries()) if (!entry.hadRecentInput) seen.shifted += entry.value;
  }).observe({ type: 'layout-shift', buffered: true });
  const look = ({ target }) => {
    const known = seen.hidden.get(target);
    if (!known && target.style.visibility === 'hidden') {
      const note = { from: performance.now() };
      seen.hidden.set(target, note);
      // a timer of the same length, begun at the same time, tells whether it was in time
      setTimeout(() => (note.late = note.until === undefined), 250);
    } else if (known && target.style.visibility !== 'hidden') {
      known.until ??= performance.now();
    }
  };
  new MutationObserver((list) => list.forEach(look)).observe(document, { subtree: true, attributes: true, attributeFilter: ['style'] });
}

// Runs in the page: the 240 ms that Rapport waits become longer.
function wait(timeoutMs) {
  const { setTimeout } = window;
  window.setTimeout = (work, ms, ...more) => setTimeout(work, ms === 240 ? timeoutMs : ms, ...more);
}

/** How long elements were hidden, and whether one was hidden for too long. */
export const hiding = (page) =>
  page.evaluate(() => [...window.seen.hidden.values()].map(({ from, until, late }) => ({ ms: until - from, late: Boolean(late) })));

/** The outcomes of a visitor's presentations of an offer, as the service knows them. */
export async function outcomes(shop, visitorId, offer) {
  const identities = [{ type: 'visitor_id', value: visitorId }];
  const answer = await shop.service.call('/v1/customers:get', { identities }).catch(() => undefined);
  const found = (answer?.customer.interactions ?? []).filter((interaction) => interaction.offer === offer);
  return found.flatMap((interaction) => interaction.outcomes.map((name) => name.replace('OUTCOME_TYPE_', ''))).sort();
}

/** What the visitor cookie of a profile holds. */
export async function cookie(context) {
  return (await context.cookies()).find(({ name }) => name === 'rapport_visitor');
}
