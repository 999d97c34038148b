// The one view of the customer on the line.

import { by, h, keyed, write } from './dom.js';
import { ago, capital, channel, date, label, money, number, spaced, value } from './words.js';

// Told first; every other trait and attribute stands below.
const ATTRIBUTES_ABOVE = ['first_name', 'country', 'language', 'loyalty_points'];
const LANGUAGES = { en: 'English', de: 'German' };

export const nameOf = (customer) => value(customer.attributes?.first_name) || 'No name known';

const raw = (typed) => Number(typed?.intValue ?? typed?.doubleValue ?? NaN);

// The traits that matter on the phone, in words.
function facts({ traits = {}, attributes = {} }) {
  const list = [];
  const add = (name, text, tone) => list.push({ name, text, tone });
  const open = traits.has_open_complaint?.boolValue;
  if (open) add('has_open_complaint', 'open', 'bad');
  add('orders', number(raw(traits.orders) || 0));
  add('spend', traits.spend ? money(traits.spend.moneyValue) : '–');
  add('average_order', traits.average_order ? money(traits.average_order.moneyValue) : '–');
  const days = raw(traits.days_since_order);
  add('days_since_order', Number.isNaN(days) ? 'never' : days === 0 ? 'today' : `${number(days)} d ago`);
  add('returns', number(raw(traits.returns) || 0));
  if (!open) add('loyalty_points', number(raw(attributes.loyalty_points) || 0));
  return list;
}

export function person({ setDoNotContact }) {
  const never = by('dnc');
  never.addEventListener('change', () => setDoNotContact(never.checked));

  return {
    show(customer) {
      const { attributes = {}, identities = [] } = customer;
      const name = nameOf(customer);
      const id = identities.find(({ type }) => type === 'customer_id')?.value;
      const language = value(attributes.language);
      write(by('avatar'), name.charAt(0));
      write(by('person'), name);
      const since = customer.firstSeen && `customer since ${date(customer.firstSeen)}`;
      write(by('person-line'), [id && `No. ${id}`, value(attributes.country), language && (LANGUAGES[language] || language), since]
        .filter(Boolean).join(' · '));
      segments(customer);
      keyed(by('traits'), facts(customer), (fact) => fact.name, () => h('div', {}, h('dt'), h('dd')), (node, fact) => {
        write(node.firstChild, label(fact.name));
        write(node.lastChild, fact.text);
        node.dataset.tone = fact.tone || '';
      });
      never.checked = Boolean(customer.doNotContact);
      consents(customer.consents || []);
      const rest = Object.entries(attributes).filter(([key]) => !ATTRIBUTES_ABOVE.includes(key));
      keyed(by('attributes'), rest, ([key]) => key, () => h('div', {}, h('dt'), h('dd')), (node, [key, typed]) => {
        write(node.firstChild, capital(spaced(key)));
        write(node.lastChild, value(typed) ?? '–');
      });
    },
  };
}

function segments({ segments: names = [], doNotContact, arm }) {
  const chips = names.map((name) => ({ name, text: spaced(name), tone: '' }));
  if (doNotContact) chips.unshift({ name: ' dnc', text: 'do not contact', tone: 'bad' });
  if (arm === 'holdout') chips.push({ name: ' arm', text: 'control group', tone: 'quiet' });
  keyed(by('segments'), chips, ({ name }) => name, () => h('li'), (node, { text, tone }) => {
    write(node, text);
    node.dataset.tone = tone;
  });
}

const PURPOSES = { MARKETING: 'Marketing', SERVICE: 'Service', PROFILING: 'Use of behaviour' };

function consents(list) {
  const shown = list.filter(({ permission }) => permission !== 'PERMISSION_UNSPECIFIED');
  const key = (consent) => `${consent.purpose} ${consent.channel}`;
  const ordered = [...shown].sort((a, b) => key(a).localeCompare(key(b)));
  keyed(by('consents'), ordered, key, () => h('li', {}, h('span', { class: 'mark', 'aria-hidden': 'true' }), h('span')), (node, consent) => {
    const granted = consent.permission === 'PERMISSION_GRANTED';
    const purpose = PURPOSES[consent.purpose.replace('CONSENT_PURPOSE_', '')] || spaced(consent.purpose);
    node.dataset.granted = granted;
    write(node.firstChild, granted ? '✓' : '✕');
    const words = [purpose, channel(consent.channel), granted ? 'allowed' : 'refused'].filter(Boolean).join(' ');
    write(node.lastChild, consent.time ? `${words}, ${ago(consent.time)}` : words);
  });
}
