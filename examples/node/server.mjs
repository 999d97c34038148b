// A shop's home page, rendered on the server with offers from Rapport.
import { createServer } from 'node:http';

const RAPPORT_URL = process.env.RAPPORT_URL ?? 'http://127.0.0.1:7070';
// Stays on the server: the service refuses it from a browser.
const SECRET_KEY = process.env.RAPPORT_SECRET_KEY ?? '';
// For rapport.js in the page.
const PUBLISHABLE_KEY = process.env.RAPPORT_PUBLISHABLE_KEY ?? '';
const PORT = Number(process.env.PORT ?? 8080);
/** The page never waits longer for an answer. */
const BUDGET_MS = 100;
const VISITOR_COOKIE_SECONDS = 400 * 24 * 60 * 60;

/** What the page shows when Rapport has nothing to say, or says it too late. */
const OWN = {
  home_hero: { headline: 'Gifts for every occasion', cta_label: 'Look around', cta_url: '/all' },
  product_page: { headline: 'Often bought together', cta_label: 'Look around', cta_url: '/all' },
};

/** Asks for every placement of the page at once. Nothing when that takes too long. */
async function decide({ visitorId, consent, languages }) {
  const permission = consent === 'granted' ? 'PERMISSION_GRANTED' : 'PERMISSION_DENIED';
  try {
    const response = await fetch(`${RAPPORT_URL}/v1/decide`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...(SECRET_KEY && { 'x-api-key': SECRET_KEY }) },
      body: JSON.stringify({
        placements: Object.keys(OWN).map((placement) => ({ placement })),
        visitorId,
        languages,
        pageConsent: { profiling: permission, marketing: permission },
        timeBudgetMs: BUDGET_MS,
      }),
      signal: AbortSignal.timeout(BUDGET_MS),
    });
    if (!response.ok) throw new Error(`${response.status} ${await response.text()}`);
    return await response.json();
  } catch (error) {
    console.error(`rapport: ${error.message}`);
    return undefined;
  }
}

const escape = (text) => String(text).replace(/[&<>"']/g, (sign) => `&#${sign.charCodeAt(0)};`);
const safe = (url) => (/^(https?:\/\/|\/)/.test(url) ? url : '/');

/**
 * One placement. With a token rapport.js only watches it: impression, clicks. A
 * placement that was not answered at all is asked for again by the browser.
 */
function slot(placement, answer) {
  const shown = answer?.placements.find((one) => one.placement === placement)?.presentations[0];
  const { headline, cta_label: label, cta_url: url } = { ...OWN[placement], ...shown?.data };
  const token = shown?.presentationToken;
  const marks = [];
  if (token || !answer) marks.push(`data-rapport-placement="${placement}"`);
  if (token) marks.push(`data-rapport-token="${escape(token)}"`);
  return `<section ${marks.join(' ')}>
      <h2 data-rapport-field="headline">${escape(headline)}</h2>
      <a data-rapport-href="cta_url" data-rapport-field="cta_label" href="${escape(safe(url))}">${escape(label)}</a>
      <button data-rapport-dismiss>Not now</button>
    </section>`;
}

function page(answer, consent) {
  const key = PUBLISHABLE_KEY && ` data-key="${escape(PUBLISHABLE_KEY)}"`;
  const visitor = answer?.visitorId ? ` data-visitor="${escape(answer.visitorId)}"` : '';
  return `<!doctype html>
<html lang="en">
  <head>
    <meta charset="utf-8">
    <title>Shop</title>
    <script src="${escape(RAPPORT_URL)}/rapport.js"${key}${visitor} data-consent="${consent}" async></script>
  </head>
  <body>
    ${Object.keys(OWN).map((placement) => slot(placement, answer)).join('\n    ')}
  </body>
</html>
`;
}

function cookies(request) {
  const pairs = (request.headers.cookie ?? '').split('; ').map((pair) => pair.split('='));
  return Object.fromEntries(pairs.map(([name, ...value]) => [name, value.join('=')]));
}

const server = createServer(async (request, response) => {
  // the cookie `consent` is the shop's own: its consent banner sets it
  const { consent: said, rapport_visitor: known } = cookies(request);
  const consent = said === 'granted' ? 'granted' : 'denied';
  const languages = (request.headers['accept-language'] ?? 'en').split(',').map((part) => part.split(';')[0].trim());
  const answer = await decide({
    visitorId: consent === 'granted' ? known : undefined,
    consent,
    languages: languages.filter((language) => /^[a-z-]+$/i.test(language)).slice(0, 8),
  });
  if (consent === 'granted' && answer?.visitorId) {
    const cookie = `rapport_visitor=${answer.visitorId}; Max-Age=${VISITOR_COOKIE_SECONDS}; Path=/; SameSite=Lax`;
    // rapport.js reads it: not HttpOnly
    response.setHeader('set-cookie', request.headers['x-forwarded-proto'] === 'https' ? `${cookie}; Secure` : cookie);
  }
  response.writeHead(200, { 'content-type': 'text/html; charset=utf-8', 'cache-control': 'private, no-store' });
  response.end(page(answer, consent));
});

server.listen(PORT, '127.0.0.1', () => console.log(`listening on http://127.0.0.1:${server.address().port}`));
