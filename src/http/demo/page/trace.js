// Why a decision came out as it did, in words: the winners first, then all who
// lost, by the stage that dropped them.

import { by, h, keyed, show, write } from './dom.js';
import { STAGES, bare, capital, number, plural, reason, silence, spaced } from './words.js';

const ROWS_MAX = 100;
const pounds = new Intl.NumberFormat('en-GB', { style: 'currency', currency: 'GBP' });

export function trace({ explain, offerName, name }) {
  const asked = { shop: '', desk: '' };
  let side = 'shop';
  let shown = '';
  let last; // the explanation on screen

  const buttons = { shop: by('why-shop'), desk: by('why-desk') };
  for (const [which, button] of Object.entries(buttons)) button.addEventListener('click', () => turn(which));

  function turn(which) {
    side = which;
    for (const [other, button] of Object.entries(buttons)) button.setAttribute('aria-pressed', String(other === which));
    return load();
  }

  async function load() {
    const id = asked[side];
    if (!id) return clear();
    if (id === shown) return undefined;
    shown = id;
    const explained = await explain(id);
    // a newer one was asked for meanwhile
    if (shown !== id) return undefined;
    if (!explained) {
      shown = '';
      return clear();
    }
    last = explained;
    return draw();
  }

  function clear() {
    shown = '';
    last = undefined;
    show(by('trace-body'), false);
    show(by('trace-empty'), true);
    write(by('trace-proof'), '');
  }

  function draw() {
    if (!last) return;
    show(by('trace-empty'), false);
    show(by('trace-body'), true);
    const { decision, candidates, identical } = last;
    write(by('trace-proof'), identical ? '✓ replayed: the same to the byte' : 'the replay differs');
    keyed(by('won'), winners(decision), (one) => one.key, winner, (node, one) => fill(node, one));
    losers(candidates);
  }

  function winners(decision) {
    return decision.placements.flatMap(({ placement, presentations, silenceReason }) => {
      const offers = presentations.filter(({ offer }) => offer);
      if (offers.length) {
        return offers.map((presentation) => ({ key: `${placement} ${presentation.offer}`, placement, presentation }));
      }
      return [{ key: `${placement} silence`, placement, silent: silence(silenceReason) || 'nothing is said' }];
    });
  }

  function fill(node, { placement, presentation, silent }) {
    write(node.querySelector('.place'), capital(spaced(placement)) || 'Any channel');
    write(node.querySelector('.won-name'), silent ? 'Nothing' : offerName(presentation.offer));
    const why = presentation?.agent?.reason || '';
    write(node.querySelector('.won-why'), silent ? capital(silent) : why);
    const sum = node.querySelector('.sum');
    show(sum, Boolean(presentation));
    if (!presentation) return;
    const f = presentation.factors || {};
    const terms = [
      ['chance', `${number(Math.round((f.propensity || 0) * 1000) / 10)} %`],
      ['value − cost', pounds.format((f.value || 0) - (f.channelCost || 0))],
      ['context', number(f.contextWeight ?? 1)],
      ['preference', number(f.preference ?? 1)],
      ['lever', number(f.lever ?? 1)],
      ['worth', pounds.format(f.netPriority || 0)],
    ].filter(([term, text]) => !['context', 'preference', 'lever'].includes(term) || text !== '1');
    keyed(sum, terms, ([term]) => term, () => h('span', {}, h('b'), h('small')), (part, [term, text]) => {
      part.className = term === 'worth' ? 'term total' : 'term';
      write(part.firstChild, text);
      write(part.lastChild, term);
    });
  }

  function losers(candidates) {
    const lost = candidates.filter((verdict) => bare(verdict.reason, 'REASON_') !== 'UNSPECIFIED' && verdict.reason);
    const groups = Object.keys(STAGES).map((stage) => ({ stage, verdicts: lost.filter((verdict) => verdict.stage === stage) }))
      .filter(({ verdicts }) => verdicts.length);
    keyed(by('lost'), groups, ({ stage }) => stage, group, (node, { stage, verdicts }) => {
      const counts = new Map();
      for (const verdict of verdicts) counts.set(verdict.reason, (counts.get(verdict.reason) || 0) + 1);
      const words = [...counts].sort((a, b) => b[1] - a[1]).map(([code, count]) => `${count} ${reason(code)}`);
      write(node.querySelector('.asks'), STAGES[stage]);
      write(node.querySelector('.counts'), words.join(', '));
      const rows = verdicts.slice(0, ROWS_MAX);
      keyed(node.querySelector('ul'), rows, (verdict) => `${verdict.offer} ${verdict.channel} ${verdict.placement}`, loser, (row, verdict) => {
        write(row.querySelector('.lost-name'), offerName(verdict.offer));
        write(row.querySelector('.lost-why'), detail(verdict));
        keyed(row.querySelector('ul'), verdict.failed || [], (part, at) => part.position + part.text, () => h('li'), literal);
      });
    });
    show(by('lost').parentElement, Boolean(groups.length));
    if (name) write(by('lost-title'), `Lost: ${plural(lost.length, 'candidate')}`);
  }

  return {
    // A side decided again.
    decided(which, decisionId) {
      if (asked[which] === decisionId) return undefined;
      asked[which] = decisionId;
      return which === side ? load() : undefined;
    },
    turn,
    redraw: draw,
  };
}

const detail = (verdict) => [reason(verdict.reason), verdict.detail && verdict.detail.replaceAll('`', '')].filter(Boolean).join(': ');

function winner() {
  return h('li', {}, h('p', { class: 'place' }), h('p', { class: 'won-name' }), h('p', { class: 'won-why' }), h('p', { class: 'sum' }));
}

function group() {
  return h('details', {}, h('summary', {}, h('span', { class: 'asks' }), h('span', { class: 'counts' })), h('ul'));
}

function loser() {
  return h('li', {}, h('span', { class: 'lost-name' }), h('span', { class: 'lost-why' }), h('ul', { class: 'failed' }));
}

function literal(node, part) {
  const truth = part.truth === 'TRUTH_UNKNOWN' ? 'is not known' : 'is not true';
  node.replaceChildren(h('code', {}, part.text), ` ${truth}: ${part.valueRead} `, h('span', { class: 'position' }, part.position));
}
