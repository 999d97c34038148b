// The incoming call: a number, who it may be, and the pick of one.

import { by, h, keyed, say, show, write } from './dom.js';
import { ago, capital, plural, spaced } from './words.js';

// Numbers as people write them: `+44 (7700) 900-000` is `+447700900000`.
const dialled = (text) => text.trim().replace(/[\s().-]+/g, '').replace(/^00/, '+');

export function phone({ lookup, pick, hangUp }) {
  const number = by('number');

  by('call').addEventListener('submit', (event) => {
    event.preventDefault();
    number.value = dialled(number.value);
    if (number.value) lookup(number.value);
  });
  by('hang-up').addEventListener('click', hangUp);
  by('found').addEventListener('keydown', (event) => {
    if (event.key === 'Escape') {
      forget();
      number.focus();
    }
  });

  function forget() {
    show(by('found'), false);
    show(by('callers-box'), true);
    keyed(by('matches'), [], () => '');
  }

  function title(matches, more) {
    if (!matches.length) return 'Nobody has this number';
    if (matches.length === 1 && !more) return 'This may be';
    return `${more ? 'More than ' : ''}${plural(matches.length, 'customer')} share this number`;
  }

  return {
    // The numbers to choose from; the first one is ringing.
    callers(list) {
      keyed(by('callers'), list, (caller) => caller.phone, (caller) => {
        const button = h('button', { type: 'button', class: 'caller' },
          h('span', { class: 'caller-label' }, caller.label), h('span', { class: 'caller-phone' }, caller.phone));
        button.addEventListener('click', () => {
          number.value = caller.phone;
          lookup(caller.phone);
        });
        return h('li', {}, button);
      });
      if (!number.value && list.length) number.value = list[0].phone;
    },

    // Who it may be, masked.
    found({ matches, more }) {
      write(by('found-title'), title(matches, more));
      write(by('found-hint'), matches.length
        ? 'Ask for the name and the customer number before you pick.'
        : 'Help as you would any first caller, or try another number.');
      keyed(by('matches'), [], () => '');
      keyed(by('matches'), matches, (match) => match.matchToken, (match) => card(match, pick));
      show(by('callers-box'), false);
      show(by('found'), true);
      say(by('found-title').textContent);
      (by('matches').querySelector('button') || by('found-title')).focus();
    },

    forget,

    // Whether a customer is on the line.
    open(number, opened) {
      show(by('ringing'), !opened);
      show(by('open'), opened);
      write(by('line'), opened ? 'On a call' : 'No call');
      by('line').dataset.state = opened ? 'live' : 'idle';
      write(by('on-line'), opened ? number : '');
    },
  };
}

function card(match, pick) {
  const name = match.attributes?.first_name;
  const facts = match.identities.filter(({ type, value }) => type !== 'visitor_id' && value !== '***')
    .map(({ type, value }) => [type, value]);
  const seen = match.lastSeen ? `last seen ${ago(match.lastSeen)}` : 'not seen yet';
  const button = h('button', { type: 'button', class: 'match' },
    h('span', { class: 'avatar', 'aria-hidden': 'true' }, (name || '?').charAt(0)),
    h('span', { class: 'match-words' },
      h('strong', {}, name || 'No name known'),
      h('span', { class: 'match-facts' }, ...facts.map(([kind, value]) =>
        h('span', {}, `${capital(spaced(kind))} `, h('b', {}, value)))),
      h('span', { class: 'hint' }, seen)),
    h('span', { class: 'go', 'aria-hidden': 'true' }, '→'));
  button.addEventListener('click', () => pick(match));
  return h('li', {}, button);
}
