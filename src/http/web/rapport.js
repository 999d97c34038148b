/*! Rapport on a web page: whatever fails in here, the page goes on. */
(() => {
  const HIDDEN_MS = 240, SEEN_MS = 1000, SEND_MS = 300, EVENTS_MAX = 100, PLACEMENTS_MAX = 32;
  const script = document.currentScript;
  if (!script || window.rapport?.refresh) return;
  const options = script.dataset, slots = new Map(), sent = new Set(), consent = {}, queue = [];
  let visitor = options.visitor, round = 0, width = innerWidth, sending;

  const attempt = (work) => {
    try {
      return work();
    } catch (error) {
      console.debug('rapport:', error);
    }
  };
  const config = (name, given = window.rapportConfig?.[name]) => (typeof given === 'function' ? given() : given);
  const url = (path) => new URL(`/v1/${path}${options.key ? '?key=' + options.key : ''}`, script.src);
  const post = (path, body) => fetch(url(path), { method: 'POST', body, keepalive: true });

  // Consent and the visitor.
  const granted = () => consent.profiling === 'PERMISSION_GRANTED';
  const kept = () => /\brapport_visitor=([^;]+)/.exec(document.cookie)?.[1];
  const keep = (value, seconds) => {
    document.cookie = `rapport_visitor=${value}; Max-Age=${seconds}; Path=/; SameSite=Lax` + (location.protocol === 'https:' ? '; Secure' : '');
  };
  // for a conversion on another page
  const clicked = () => JSON.parse(sessionStorage.rapport || '{}');
  const setConsent = (given) => attempt(() => {
    for (const name of ['profiling', 'marketing']) {
      const value = given && typeof given === 'object' ? given[name] : given;
      if (value != null) consent[name] = 'PERMISSION_' + (/^(true|granted)$/.test(value) ? 'GRANTED' : 'DENIED');
    }
    if (granted()) {
      visitor = visitor || kept();
      if (visitor && !kept()) keep(visitor, 34560000);
    } else if (consent.profiling) {
      keep('', 0);
      delete sessionStorage.rapport;
    }
  });

  // Outcomes.
  const flush = (beacon) => {
    if (!queue.length) return;
    const body = JSON.stringify({ events: queue.splice(0, EVENTS_MAX), visitorId: visitor });
    if (!beacon || !navigator.sendBeacon?.(url('events'), body)) sending = post('events', body).catch(() => {});
  };
  const report = (token, type, more) => {
    if (!token || sent.has(type + token)) return;
    sent.add(type + token);
    queue.push({ outcome: { presentationToken: token, type: 'OUTCOME_TYPE_' + type, ...more } });
    setTimeout(flush, SEND_MS);
  };
  const observer = new IntersectionObserver((entries) => {
    for (const { target, intersectionRatio } of entries) {
      const slot = slots.get(target);
      clearTimeout(slot.timer);
      if (intersectionRatio >= 0.5) slot.timer = setTimeout(() => document.hidden || report(slot.token, 'IMPRESSION'), SEEN_MS);
    }
  }, { threshold: 0.5 });
  const watch = (slot) => {
    clearTimeout(slot.timer);
    observer.unobserve(slot.element);
    if (slot.token) observer.observe(slot.element);
  };
  const onClick = (event) => {
    const slot = slots.get(event.currentTarget), { element, token, name } = slot;
    const on = event.target.closest('a[href],[data-rapport-click],[data-rapport-accept],[data-rapport-dismiss],[data-rapport-decline]');
    if (!on || !element.contains(on)) return;
    const { rapportAccept, rapportDecline: reasonCode, rapportDismiss = reasonCode } = on.dataset;
    if (rapportDismiss != null) {
      event.preventDefault();
      report(token, reasonCode ? 'DECLINE' : 'DISMISS', { reasonCode });
      element.style.display = 'none';
      slot.changed = true;
    } else {
      report(token, rapportAccept == null ? 'CLICK' : 'ACCEPT');
      if (token && granted()) sessionStorage.rapport = JSON.stringify({ ...clicked(), [name]: token });
    }
  };

  // Content.
  const safe = (link) => /^((https?|mailto|tel):|[^:]*([/?#]|$))/i.test(link);
  const parse = (html) => new DOMParser().parseFromString(html, 'text/html').body;
  const ELEMENTS = /^(A|B|BR|BUTTON|DIV|EM|H[1-6]|I|IMG|LI|OL|P|SMALL|SPAN|STRONG|UL)$/;
  const ATTRIBUTES = /^(alt|aria-label|class|data-rapport-\w+|height|title|width)$/;
  const copy = (from, to) => {
    for (const node of from.childNodes) {
      if (node.nodeType === 3) to.append(node.data);
      if (!ELEMENTS.test(node.tagName)) continue;
      const made = document.createElement(node.tagName);
      for (const { name, value } of node.attributes) {
        if (ATTRIBUTES.test(name) || (/^(href|src)$/.test(name) && safe(value))) made.setAttribute(name, value);
      }
      to.append(copy(node, made));
    }
    return to;
  };
  const fill = ({ element }, { data = {}, message = {}, ...other }) => {
    if (element.dataset.rapportHtml != null && message.html) {
      element.replaceChildren(...copy(parse(message.html), document.createElement('p')).childNodes);
    }
    for (const name of ['field', 'alt', 'href', 'src']) {
      for (const part of element.querySelectorAll(`[data-rapport-${name}]`)) {
        const field = part.getAttribute('data-rapport-' + name);
        let value = data[field] ?? (message[field] ? parse(message[field]).textContent : other[field]) ?? '';
        if (value.currency) value = value.amount + ' ' + value.currency;
        if (name === 'field') {
          if (!/^(script|style)$/i.test(part.tagName)) part.textContent = value;
          part.hidden = value === '';
        } else {
          part.removeAttribute(name);
          if (/^(A|IMG)$/.test(part.tagName) && (name === 'alt' || safe(value))) part.setAttribute(name, value);
        }
      }
    }
  };

  // A slot keeps its room.
  const edges = ({ element }) => {
    const { top, width, height } = element.getBoundingClientRect(), next = element.nextElementSibling;
    return { top, width, height, below: next ? next.getBoundingClientRect().top : element.parentNode.getBoundingClientRect().bottom };
  };
  const hold = (slot, before) => {
    const { element } = slot, { style } = element, moved = (edge) => before[edge] - edges(slot)[edge];
    if (!before.height || element.dataset.rapportGrow != null) return;
    if (!element.querySelector('img') && !Object.keys(before).some(moved)) return;
    style.boxSizing = 'border-box';
    style.height = before.height + 'px';
    if (moved('width')) style.width = before.width + 'px';
    if (element.scrollHeight > element.clientHeight) style.overflow = 'auto';
    const { marginTop, marginBottom } = getComputedStyle(element);
    style.marginTop = parseFloat(marginTop) + moved('top') + 'px';
    style.marginBottom = parseFloat(marginBottom) + moved('below') + 'px';
  };

  const tell = (slot, what, detail) => {
    slot.hidden = slot.element.style.visibility = '';
    slot.element.dispatchEvent(new CustomEvent('rapport:' + what, { bubbles: true, detail: { placement: slot.name, ...detail } }));
  };
  const put = (slot, shown) => {
    const { element, own } = slot, before = edges(slot);
    if (slot.changed) {
      element.style.cssText = own.style.cssText;
      element.replaceChildren(...own.cloneNode(true).childNodes);
    }
    slot.token = '';
    if (shown) {
      slot.changed = true;
      // in new boxes nothing shifts
      element.replaceChildren(...element.childNodes);
      fill(slot, shown);
      hold(slot, before);
      slot.token = shown.presentationToken;
    }
    watch(slot);
    return shown;
  };
  const slotOf = (element) => {
    const { rapportPlacement: name, rapportToken: token } = element.dataset;
    const slot = slots.get(element) || { element, name, token, own: element.cloneNode(true), hidden: !token };
    if (!slots.has(element)) {
      slots.set(element, slot);
      element.addEventListener('click', onClick, true);
      if (token) watch(slot);
      else element.style.visibility = 'hidden';
    }
    return slot;
  };
  const decide = async (placements) => {
    const visitorId = (granted() && kept()) || visitor;
    const response = await post('decide', JSON.stringify({
      placements,
      visitorId,
      languages: config('languages') || [document.documentElement.lang || navigator.language],
      context: config('context') || JSON.parse(options.context || '{}'),
      pageConsent: consent,
      ...config('request'),
    }));
    if (!response.ok) throw await response.text();
    const answer = await response.json();
    visitor = answer.visitorId || visitorId;
    if (visitor && granted()) keep(visitor, 34560000);
    return answer;
  };
  const ask = async () => {
    const mine = ++round, open = new Set();
    for (const element of document.querySelectorAll('[data-rapport-placement]')) {
      const slot = slotOf(element);
      if (!element.dataset.rapportToken) open.add(slot);
    }
    const asking = (placement) => [...open].filter(({ name }) => name === placement);
    const stay = (reason) => open.forEach((slot) => {
      if (reason === 'timeout' && !slot.hidden) return;
      open.delete(slot);
      tell(slot, 'kept', { reason });
    });
    const limit = new Promise((done) => setTimeout(() => done(stay('timeout')), HIDDEN_MS));
    const answered = (async () => {
      try {
        flush();
        await sending;
        // late consent is unknown
        if (mine < 2) await Promise.race([limit, (async () => setConsent((await config('consent')) ?? options.consent))()]);
        const names = [...new Set([...open].map(({ name }) => name))].slice(0, PLACEMENTS_MAX);
        const answer = names.length && (await decide(names.map((placement) => ({ placement, count: asking(placement).length }))));
        for (const { placement, presentations } of (mine === round && answer.placements) || []) {
          asking(placement).forEach((slot, at) => {
            open.delete(slot);
            const shown = attempt(() => put(slot, presentations[at])) || put(slot);
            tell(slot, shown ? 'filled' : 'kept', { decisionId: answer.decisionId, ...(shown || { reason: 'empty' }) });
          });
        }
        stay(mine === round ? 'empty' : 'timeout');
      } catch (error) {
        console.debug('rapport:', error);
        stay('error');
      }
    })();
    await (mine > 1 ? answered : Promise.race([answered, limit]));
  };

  addEventListener('pagehide', () => flush(true));
  document.addEventListener('visibilitychange', () => (document.hidden ? flush(true) : slots.forEach(watch)));
  addEventListener('resize', () => {
    if (width !== innerWidth) slots.forEach(({ element: { style } }) => Object.assign(style, { width: '', height: '' }));
    width = innerWidth;
  });
  const ready = new Promise((done) => {
    const start = () => done(attempt(ask));
    if (document.readyState === 'loading') document.addEventListener('DOMContentLoaded', start);
    else start();
  });
  window.rapport = {
    ready,
    refresh: () => ready.then(ask),
    consent: setConsent,
    conversion(placement, { amount, currency } = {}) {
      const slot = [...slots.values()].find(({ name, token }) => name === placement && token);
      const { token = clicked()[placement] } = slot || {};
      report(token, 'CONVERSION', currency && { value: { amount: String(amount), currency } });
      return !!token;
    },
  };
})();
