// What the agent may propose, best first: talk track, reason, accept, decline.

import { by, h, keyed, show, write } from './dom.js';

const NOTE_BYTES_MAX = 1000;

export function actions({ accept, decline }) {
  const list = by('actions');
  const now = new Map(); // offer -> its presentation, as shown
  let busy = false;

  list.addEventListener('keydown', (event) => {
    const node = event.target.closest('#actions > li');
    if (event.key !== 'Escape' || !node) return;
    const reasons = node.querySelector('.reasons');
    if (reasons && !reasons.hidden) close(node, true);
  });

  function close(node, back) {
    show(node.querySelector('.reasons'), false);
    const button = node.querySelector('.decline');
    button.setAttribute('aria-expanded', 'false');
    if (back) button.focus();
  }

  function open(node, opened) {
    node.querySelector('.action-head').setAttribute('aria-expanded', String(opened));
    show(node.querySelector('.action-body'), opened);
  }

  function make(presentation) {
    const { offer } = presentation;
    const id = `action-${offer.replace(/[^\w-]/g, '')}`;
    const head = h('button', { type: 'button', class: 'action-head', 'aria-controls': id },
      h('span', { class: 'rank' }), h('span', { class: 'action-title' },
        h('span', { class: 'name' }), h('span', { class: 'because' })), h('span', { class: 'purpose' }));
    const note = h('input', { type: 'text', class: 'note', maxlength: NOTE_BYTES_MAX / 4, 'aria-label': 'Note kept with the answer', placeholder: 'Note (optional)' });
    const yes = h('button', { type: 'button', class: 'primary accept' });
    const no = h('button', { type: 'button', class: 'decline', 'aria-expanded': 'false', 'aria-controls': `${id}-reasons` });
    const reasons = h('div', { class: 'reasons', id: `${id}-reasons`, role: 'group', 'aria-label': 'Why not?' });
    const node = h('li', { class: 'action' }, h('h4', {}, head),
      h('div', { class: 'action-body', id },
        h('p', { class: 'talk' }), h('div', { class: 'answers' }, yes, no, note), reasons));
    reasons.hidden = true;

    head.addEventListener('click', () => open(node, head.getAttribute('aria-expanded') !== 'true'));
    yes.addEventListener('click', () => !busy && accept(now.get(offer), note.value));
    no.addEventListener('click', () => {
      const opening = reasons.hidden;
      if (!opening) return close(node, false);
      show(reasons, true);
      no.setAttribute('aria-expanded', 'true');
      reasons.querySelector('button')?.focus();
      return undefined;
    });
    note.addEventListener('keydown', (event) => {
      if (event.key === 'Enter') (reasons.hidden ? yes : reasons.querySelector('button')).focus();
    });
    reasons.addEventListener('click', (event) => {
      const code = event.target.dataset?.code;
      if (code && !busy) decline(now.get(offer), { code, label: event.target.textContent }, note.value);
    });
    open(node, false);
    return node;
  }

  function update(node, presentation, index) {
    const agent = presentation.agent || {};
    const fresh = !node.dataset.rank;
    node.dataset.rank = index + 1;
    write(node.querySelector('.rank'), String(index + 1));
    write(node.querySelector('.name'), presentation.name || presentation.offer);
    write(node.querySelector('.because'), agent.reason || '');
    const service = presentation.purpose === 'PURPOSE_SERVICE';
    write(node.querySelector('.purpose'), service ? 'Service' : 'Sale');
    node.querySelector('.purpose').dataset.purpose = service ? 'service' : 'sale';
    write(node.querySelector('.talk'), agent.talkTrack || '');
    write(node.querySelector('.accept'), agent.acceptLabel || 'Accept');
    write(node.querySelector('.decline'), agent.declineLabel || 'Decline');
    const codes = agent.declineReasons || [];
    const intro = node.querySelector('.reasons');
    keyed(intro, codes, ({ code }) => code, ({ code }) => h('button', { type: 'button', class: 'reason', 'data-code': code }),
      (button, { label }) => write(button, label));
    if (fresh && index === 0) open(node, true);
  }

  return {
    show(presentations) {
      const offers = presentations.filter((presentation) => presentation.presentationToken);
      now.clear();
      for (const presentation of offers) now.set(presentation.offer, presentation);
      keyed(list, offers, ({ offer }) => offer, make, update);
      // the best one is always ready to be read out
      const first = list.firstElementChild;
      if (first) open(first, true);
      show(by('no-actions'), !offers.length);
    },

    // Nothing can be answered while an answer is under way.
    busy(working) {
      busy = working;
      list.setAttribute('aria-busy', String(working));
    },

    focus() {
      (list.querySelector('.action-head') || by('actions-title')).focus();
    },

    // A refused answer can be given again.
    reopen(offer) {
      [...list.children].find((node) => node.dataset.key === offer)?.querySelector('.accept').focus();
    },
  };
}
