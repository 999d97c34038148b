// What happened, newest first: what the one view keeps, and what comes in live.

import { by, h, keyed, show, write } from './dom.js';
import { ago, capital, channel, date, eventName, money, number, outcome, plural, spaced } from './words.js';

const SHOWN_MAX = 60;
const LIVE_MAX = 200;
const AGAIN_MS = 10_000;
// Kept for the machine, not for people.
const SILENT = ['OUTCOME_TYPE_CANCELLED', 'OUTCOME_TYPE_UNSPECIFIED'];

const CHANGES = { CHANGED_UPSERTED: 'Details or consents were set', CHANGED_DO_NOT_CONTACT: '“Do not contact” was changed' };

export function timeline({ offerName, reasonName }) {
  let customer;
  let live = [];
  let count = 0;

  setInterval(() => {
    for (const time of by('timeline').querySelectorAll('time')) write(time, ago(time.dateTime));
  }, AGAIN_MS);

  const told = ({ answered, did, changed }) => {
    if (answered) {
      const reason = answered.reasonCode ? `: ${reasonName(answered.reasonCode)}` : '';
      const more = [reason && capital(reason.slice(2)), answered.agentId && `by ${answered.agentId}`, answered.note && `“${answered.note}”`];
      return {
        title: `${outcome(answered.outcome)} “${offerName(answered.offer)}”`,
        where: channel(answered.channel),
        more: more.filter(Boolean).join(' · '),
        tone: tone(answered.outcome),
      };
    }
    if (did) {
      const items = did.items?.length ? plural(did.items.length, 'item') : '';
      const amount = did.amount?.amount && Number(did.amount.amount) ? money(did.amount) : '';
      return { title: eventName(did.type), where: channel(did.channel), more: [items, amount].filter(Boolean).join(', '), tone: 'did' };
    }
    return { title: CHANGES[changed] || 'Something was changed', where: '', more: '', tone: 'quiet' };
  };

  // What was seen of one page is one entry.
  const saw = (happening, offers) => (offers.length === 1 ? told(happening) : {
    title: `Saw ${plural(offers.length, 'offer')}`,
    where: channel(happening.answered.channel),
    more: offers.map(offerName).join(' · '),
    tone: 'quiet',
  });

  function entries() {
    const seen = new Set(live.filter(({ happening }) => happening.answered).map(({ happening: { answered } }) => key(answered, answered.outcome)));
    const list = together(live).map(({ at, happening, offers }) => ({ key: `live ${at}`, time: happening.time, live: true, ...(offers ? saw(happening, offers) : told(happening)) }));
    const kept = (customer?.interactions || []).flatMap((contact) => {
      const left = contact.outcomes.filter((type) => !SILENT.includes(type) && !seen.has(key(contact, type)));
      return left.length ? [{ happening: { time: contact.time, answered: { ...contact, outcome: strongest(left) } } }] : [];
    });
    for (const { happening, offers } of together(kept)) {
      const { decisionId, offer, outcome: type } = happening.answered;
      list.push({
        key: `contact ${decisionId} ${offer} ${type}`,
        time: happening.time,
        ...(offers ? saw(happening, offers) : told(happening)),
      });
    }
    for (const [time, items] of touches(customer?.items || [])) {
      const bought = items.some((item) => item.bought);
      list.push({ key: `items ${time}`, time, title: bought ? 'Bought' : 'Looked at', where: '', more: `${plural(items.length, 'item')}: ${items.slice(0, 4).map(({ item }) => item).join(', ')}${items.length > 4 ? ' …' : ''}`, tone: 'did' });
    }
    for (const total of customer?.events || []) {
      if (touches(customer.items || []).has(total.last)) continue;
      if (live.some(({ happening }) => happening.did?.type === total.type && Math.abs(new Date(happening.time) - new Date(total.last)) < 2000)) continue;
      const amount = Number(total.amount?.amount) ? `, ${money(total.amount)} in all` : '';
      list.push({ key: `event ${total.type} ${total.last}`, time: total.last, title: eventName(total.type), where: '', more: Number(total.count) > 1 ? `${number(Number(total.count))} times${amount}` : amount.slice(2), tone: 'did' });
    }
    return list.sort((a, b) => new Date(b.time) - new Date(a.time) || Number(Boolean(b.live)) - Number(Boolean(a.live))).slice(0, SHOWN_MAX);
  }

  function draw() {
    const list = entries();
    keyed(by('timeline'), list, (entry) => entry.key, make, (node, entry) => {
      node.dataset.tone = entry.tone;
      write(node.querySelector('.what'), entry.title);
      write(node.querySelector('.where'), entry.where);
      write(node.querySelector('.with'), entry.more);
    });
    show(by('no-timeline'), !list.length);
  }

  return {
    // A new customer on the line; none clears it.
    start(view) {
      customer = view;
      live = [];
      keyed(by('timeline'), [], () => '');
      draw();
    },

    // The view after a change, and what happened; answers what is new in words.
    add(view, happenings) {
      customer = view;
      const heard = happenings.filter(({ answered }) => !answered || !SILENT.includes(answered.outcome));
      for (const happening of heard) live.push({ at: (count += 1), happening });
      live = live.slice(-LIVE_MAX);
      draw();
      return heard.map((happening) => [told(happening).title, told(happening).where].filter(Boolean).join(' '));
    },

    // The names of offers changed.
    draw,
  };
}

// Impressions of one decision, told as one.
function together(happenings) {
  const pages = new Map();
  return happenings.filter((one) => {
    const { answered } = one.happening;
    one.offers = undefined;
    if (answered?.outcome !== 'OUTCOME_TYPE_IMPRESSION') return true;
    const page = `${answered.decisionId} ${answered.channel}`;
    const before = pages.get(page);
    if (before) before.offers.push(answered.offer);
    else pages.set(page, Object.assign(one, { offers: [answered.offer] }));
    return !before;
  });
}

const key = (answered, type) => `${answered.decisionId} ${answered.offer} ${answered.channel} ${type}`;

function tone(type) {
  if (/ACCEPT|CONVERSION|CLICK/.test(type)) return 'good';
  if (/DECLINE|DISMISS|UNSUBSCRIBE/.test(type)) return 'bad';
  return 'quiet';
}

// Of the outcomes of one contact the one that says most.
const WEIGHT = ['IMPRESSION', 'HANDOFF', 'CLICK', 'DISMISS', 'ACCEPT', 'DECLINE', 'CONVERSION', 'UNSUBSCRIBE'];
function strongest(types) {
  const weight = (type) => WEIGHT.indexOf(type.replace('OUTCOME_TYPE_', ''));
  return [...types].sort((a, b) => weight(b) - weight(a))[0];
}

// Items by the moment they were touched at.
function touches(items) {
  const moments = new Map();
  for (const item of items) moments.set(item.time, [...(moments.get(item.time) || []), item]);
  return moments;
}

function make(entry) {
  return h('li', entry.live ? { class: 'live' } : {},
    h('p', {}, h('span', { class: 'what' }), ' ', h('span', { class: 'where' })),
    h('p', { class: 'with' }),
    h('time', { datetime: entry.time, title: `${date(entry.time)} ${spaced(new Date(entry.time).toLocaleTimeString('en-GB'))}` }, ago(entry.time)));
}
