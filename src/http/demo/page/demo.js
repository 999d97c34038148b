// The demo: a shop and an agent's desktop that know the same customer. This
// file is the thread through it; each part of the page has a file of its own.

import { actions } from './actions.js';
import { Refused, Unreachable, call, lines, look } from './api.js';
import { by, say, show, write } from './dom.js';
import { nameOf, person } from './person.js';
import { phone } from './phone.js';
import { shopfront } from './shopfront.js';
import { timeline } from './timeline.js';
import { trace } from './trace.js';

const AGENT = 'agent-7';
const RULES_EVERY_MS = 500;
const WATCH_AGAIN_MS = 500;
const NOTICE_MS = 6_000;
const DESK = 'agent_desktop';
const ANSWERS = ['CLICK', 'ACCEPT', 'DECLINE', 'DISMISS', 'CONVERSION', 'UNSUBSCRIBE'].map((type) => `OUTCOME_TYPE_${type}`);

const offers = new Map(); // id -> name
const reasons = new Map(); // decline code -> label
const visitors = new Map(); // customer id -> signed visitor id
let current; // the call on the line
let revision;
let noticed;

const offerName = (id) => offers.get(id) || id;

const parts = {
  phone: phone({ lookup, pick, hangUp }),
  actions: actions({
    accept: (presentation, note) => respond(presentation, { outcome: 'OUTCOME_TYPE_ACCEPT', note }),
    decline: (presentation, reason, note) =>
      respond(presentation, { outcome: 'OUTCOME_TYPE_DECLINE', reasonCode: reason.code, note }),
  }),
  person: person({ setDoNotContact }),
  timeline: timeline({ offerName, reasonName: (code) => reasons.get(code) || code }),
  trace: trace({ explain, offerName, name: true }),
};
const shop = shopfront({ decided: (id) => parts.trace.decided('shop', id) });

// ---- what people are told --------------------------------------------------

function notice(text, tone = 'bad') {
  clearTimeout(noticed);
  by('notice').dataset.tone = tone;
  write(by('notice'), text);
  show(by('notice'), Boolean(text));
  if (text && tone !== 'stay') noticed = setTimeout(() => notice(''), NOTICE_MS);
}

function healthy(well) {
  const health = by('health');
  if (health.dataset.state === (well ? 'well' : 'gone')) return;
  const back = health.dataset.state === 'gone';
  health.dataset.state = well ? 'well' : 'gone';
  write(health, well ? 'live' : 'not answering');
  if (!well) notice('The service does not answer. The shop keeps its own page; this one goes on by itself when the service is back.', 'stay');
  else if (back) {
    notice('The service answers again.', 'good');
    shop.refresh();
    if (current) decide(current);
  }
}

// Runs what a person started; whatever goes wrong is told.
async function attempt(work) {
  try {
    return await work();
  } catch (error) {
    if (error instanceof Unreachable) healthy(false);
    else if (error instanceof Refused) notice(`${error.told}.`);
    else if (error?.name !== 'AbortError') notice(`Something went wrong here: ${error.message}`);
    return undefined;
  }
}

// ---- a call ------------------------------------------------------------------

function lookup(number) {
  return attempt(async () => {
    const identity = { type: 'phone', value: number };
    parts.phone.found(await call('/v1/customers:lookup', { identity }));
  });
}

// Opens the one view of a match: its list of actions, its shop, its timeline.
function pick(match) {
  return attempt(async () => {
    const matched = { type: 'match', value: match.matchToken };
    const { customer } = await call('/v1/customers:get', { identities: [matched] });
    const own = customer.identities.find(({ type }) => type === 'customer_id');
    const opened = {
      id: `call-${crypto.randomUUID()}`,
      number: by('number').value,
      who: own || matched,
      customer,
      ended: new AbortController(),
      turn: Promise.resolve(),
      presented: [],
    };
    end(current);
    current = opened;
    by('topic').value = '';
    by('verified').checked = false;
    parts.phone.forget();
    parts.phone.open(opened.number, true);
    parts.actions.show([]);
    parts.person.show(customer);
    parts.timeline.start(customer);
    parts.trace.turn('desk');
    by('person').focus({ preventScroll: true });
    say(`${nameOf(customer)} is on the line`);
    // the desk first: what it may say must not wait for the shop
    await decide(opened);
    await attempt(() => signIn(opened));
    watch(opened);
  });
}

function hangUp() {
  end(current);
  current = undefined;
  parts.phone.open('', false);
  parts.trace.decided('desk', '');
  parts.trace.turn('shop');
  shop.signOut();
  by('number').focus();
  say('The call has ended');
}

function end(ended) {
  if (!ended) return;
  ended.ended.abort();
  release(ended.presented);
}

// The shop's visitor becomes this customer, as at a login.
async function signIn(opened) {
  if (opened.who.type === 'match') return;
  const { value } = opened.who;
  if (!visitors.has(value)) {
    const { visitorId } = await call('/v1/decide', { placements: [{ placement: 'home_hero' }] });
    if (!visitorId) return;
    await call('/v1/customers:upsert', { identities: [opened.who, { type: 'visitor_id', value: visitorId }] });
    visitors.set(value, visitorId);
  }
  if (opened === current) await shop.signIn(nameOf(opened.customer), visitors.get(value));
}

// ---- next best actions --------------------------------------------------------

// One question or answer of a call after the other.
function inTurn(opened, work) {
  opened.turn = opened.turn.then(() => (opened === current ? attempt(work) : undefined));
  return opened.turn;
}

function decide(opened) {
  return inTurn(opened, async () => {
    await release(opened.presented);
    opened.presented = [];
    present(opened, await call('/v1/decide', {
      identities: [opened.who],
      assurance: by('verified').checked ? 'ASSURANCE_VERIFIED' : 'ASSURANCE_CLAIMED',
      placements: [{ placement: DESK }],
      context: by('topic').value ? { call_topic: by('topic').value } : {},
      sessionId: opened.id,
      view: 'VIEW_AGENT',
    }));
  });
}

function present(opened, answer) {
  if (opened !== current) return;
  opened.presented = answer.placements[0]?.presentations || [];
  for (const { offer, name, agent } of opened.presented) {
    if (name) offers.set(offer, name);
    for (const { code, label } of agent?.declineReasons || []) reasons.set(code, label);
  }
  parts.actions.show(opened.presented);
  parts.trace.decided('desk', answer.decisionId);
}

// What was not said after all counts towards no limit.
function release(presented) {
  const events = cancelled(presented);
  return events.length ? call('/v1/events', { events }).catch(() => undefined) : undefined;
}

const cancelled = (presented) => presented.filter(({ presentationToken }) => presentationToken)
  .map(({ presentationToken }) => ({ outcome: { presentationToken, type: 'OUTCOME_TYPE_CANCELLED' } }));

addEventListener('pagehide', () => {
  const events = cancelled(current?.presented || []);
  if (events.length) navigator.sendBeacon('/v1/events', JSON.stringify({ events }));
});

// An answer; the same call brings what is best now.
function respond(presentation, answer) {
  const opened = current;
  if (!opened || !presentation) return undefined;
  parts.actions.busy(true);
  return inTurn(opened, async () => {
    const { decision } = await call('/v1/respond', {
      presentationToken: presentation.presentationToken,
      requestId: crypto.randomUUID(),
      agentId: AGENT,
      callId: opened.id,
      view: 'VIEW_AGENT',
      ...answer,
    });
    present(opened, decision);
    parts.actions.focus();
    const best = opened.presented.find(({ presentationToken }) => presentationToken);
    say(best ? `Recorded. Next best: ${best.name}` : 'Recorded. Nothing else should be proposed now');
  }).finally(() => parts.actions.busy(false));
}

function setDoNotContact(never) {
  const opened = current;
  return attempt(() => call('/v1/customers:doNotContact', {
    identities: [opened.who], doNotContact: never, reason: `asked on ${opened.id}`,
  }));
}

by('topic').addEventListener('change', () => current && decide(current));
by('verified').addEventListener('change', () => current && decide(current));

// ---- what happens meanwhile ----------------------------------------------------

async function watch(opened) {
  const { signal } = opened.ended;
  let first = true;
  while (!signal.aborted) {
    try {
      for await (const message of lines('/v1/customers:watch', { identities: [opened.who] }, signal)) {
        if (signal.aborted) return;
        happened(opened, message, first);
        first = false;
      }
    } catch (error) {
      if (signal.aborted) return;
      if (error instanceof Refused) notice(`${error.told}.`);
    }
    await new Promise((done) => setTimeout(done, WATCH_AGAIN_MS));
  }
}

function happened(opened, { customer, happenings = [], missed }, first) {
  opened.customer = customer;
  parts.person.show(customer);
  const told = parts.timeline.add(customer, happenings);
  if (told.length) say(told.at(-1));
  const answers = happenings.filter(({ answered }) => answered && ANSWERS.includes(answered.outcome));
  const facts = happenings.some(({ answered }) => !answered) || missed;
  // the shop sees to its own answers, and the desk to its own
  if (!first && (facts || answers.some(({ answered }) => answered.channel !== 'web'))) shop.refresh();
  if (!first && (facts || answers.some(({ answered }) => !answered.agentId && answered.channel === 'web'))) decide(opened);
}

async function explain(decisionId) {
  return attempt(() => call('/v1/explain', { decisionId }));
}

async function loadOffers() {
  let token = '';
  do {
    const page = await look(`/v1/offers?pageSize=1000${token && `&pageToken=${encodeURIComponent(token)}`}`);
    for (const { id, name } of page.offers) offers.set(id, name);
    token = page.nextPageToken;
  } while (token);
}

// The rules that serve now; a change reaches both sides.
async function followRules() {
  try {
    const active = await look('/v1/ruleset:active');
    healthy(true);
    const refused = active.refusedErrors?.[0];
    write(by('revision'), active.revision);
    by('revision').dataset.refused = Boolean(refused);
    by('revision').title = refused || `${active.offers} offers, by ${active.author || 'the directory'}`;
    if (refused && refused !== followRules.refused) notice(`An edit of the rules was refused, those before it serve on: ${refused}`);
    followRules.refused = refused;
    if (active.revision !== revision) {
      const before = revision;
      await loadOffers();
      revision = active.revision;
      parts.timeline.draw();
      if (before) {
        notice('The rules were changed: both sides were asked again.', 'good');
        shop.refresh();
        if (current) decide(current);
      }
    }
  } catch (error) {
    if (error instanceof Unreachable) healthy(false);
    // with keys, say: this page has none
    else if (error instanceof Refused) notice(`The service refuses this page: ${error.told}.`, 'stay');
  }
}

async function follow() {
  if (document.visibilityState === 'visible') await followRules();
  setTimeout(follow, RULES_EVERY_MS);
}

follow();
attempt(async () => {
  const { callers } = await look('/demo/callers.json');
  parts.phone.callers(callers);
});
