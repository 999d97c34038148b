(() => {
  const HIDDEN_MS = 240, SEEN_MS = 1000, SEND_MS = 300;
  const script = document.currentScript;
  if (window.rapport?.refresh) return;
  const options = { ...script.dataset }, slots = new Map(), sent = new Set(), consent = {};
  let visitorId = options.visitor, queue = new Map(), retries = 0, round = 0, width = innerWidth, sending;

  const attempt = (work) => {
    try {
      return work();
    } catch (error) {
      console.debug('rapport:', error);
    }
  };
  const config = (name, given = window.rapportConfig?.[name]) => (given?.call ? given() : given);
  const url = (path) => new URL(`v1/${path}?key=${encodeURIComponent(options.key || '')}`, script.src);
  const post = (path, body) => fetch(url(path), { method: 'POST', body, keepalive: true });

  const granted = () => consent.profiling === 'PERMISSION_GRANTED';
  const keep = (value = '') => attempt(() => {
    document.cookie = `rapport_visitor=${value}; Max-Age=${value ? 34560000 : 0}; Path=/; SameSite=Lax` + (/^https/.test(origin) ? '; Secure' : '');
  });
  const clicked = () => attempt(() => JSON.parse(sessionStorage.rapport ?? null)) || {};
  const forget = (all) => {
    if (all) {
      queue = new Map();
      round &&= round + 1;
      visitorId = options.visitor = undefined;
      slots.forEach((slot) => watch(slot));
    }
    keep();
    delete sessionStorage.rapport;
  };
  const setConsent = (given) => attempt(() => {
    const before = granted();
    for (const name of ['profiling', 'marketing']) {
      const value = Object(given) === given ? given[name] : given;
      if (value != null) consent[name] = 'PERMISSION_' + (/^(true|granted)$/.test(value) ? 'GRANTED' : 'DENIED');
    }
    if (granted()) keep(visitorId = options.visitor || /\brapport_visitor=([^;]+)/.exec(document.cookie)?.[1] || visitorId);
    else if (consent.profiling) forget(before);
  });

  const add = (waiting, visitorId, events) => waiting.set(visitorId, (waiting.get(visitorId) || []).concat(events).slice(0, 100));
  const flush = () => queue.forEach((events, visitorId, waiting) => {
    const body = JSON.stringify({ events, visitorId, pageConsent: consent });
    waiting.delete(visitorId);
    if (!('keepalive' in Request.prototype)) return navigator.sendBeacon(url('events'), body);
    sending = post('events', body).then(({ status }) => {
      if (status === 429 || status > 499) throw status;
      retries = 0;
    }).catch(() => {
      add(waiting, visitorId, events);
      if (retries < 5) setTimeout(flush, SEND_MS * 3 ** ++retries);
    });
  });
  const report = (slot, type, more) => {
    const presentationToken = slot.token;
    slot.visitorId ||= visitorId;
    if (!presentationToken || sent.has(type + presentationToken)) return;
    sent.add(type + presentationToken);
    add(queue, slot.visitorId, { outcome: { presentationToken, type: 'OUTCOME_TYPE_' + type, ...more } });
    setTimeout(flush, SEND_MS);
  };
  const observer = new IntersectionObserver((entries) => {
    for (const { target, intersectionRatio } of entries) {
      const slot = slots.get(target) || {};
      clearTimeout(slot.timer);
      if (intersectionRatio >= 0.5) slot.timer = setTimeout(() => document.hidden || report(slot, 'IMPRESSION'), SEEN_MS);
    }
  }, { threshold: 0.5 });
  const watch = (slot, token) => {
    slot.token = token;
    clearTimeout(slot.timer);
    observer.unobserve(slot.element);
    if (token) observer.observe(slot.element);
  };
  const onClick = (event) => attempt(() => {
    const slot = slots.get(event.currentTarget), { element } = slot;
    const on = event.target.closest('a[href],[data-rapport-click],[data-rapport-accept],[data-rapport-dismiss],[data-rapport-decline]');
    if (!element.contains(on)) return;
    const { rapportAccept, rapportDecline: reasonCode, rapportDismiss = reasonCode } = on.dataset;
    if (rapportDismiss != null) {
      event.preventDefault();
      report(slot, reasonCode ? 'DECLINE' : 'DISMISS', { reasonCode });
      element.style.display = 'none';
      slot.changed = true;
    } else {
      report(slot, rapportAccept == null ? 'CLICK' : 'ACCEPT');
      if (slot.token && granted()) sessionStorage.rapport = JSON.stringify({ ...clicked(), [slot.name]: { token: slot.token, visitorId: slot.visitorId } });
    }
  });

  const safe = (link) => link && /^((https?|mailto|tel):|[^:]*([/?#]|$))/i.test(link);
  const parse = (html) => new DOMParser().parseFromString(html, 'text/html').body;
  const clean = (body) => {
    for (const node of body.querySelectorAll('*')) {
      if (!/^(A|B|BR|BUTTON|DIV|EM|H\d|I|IMG|LI|OL|P|SPAN|STRONG|UL)$/.test(node.tagName)) node.remove();
      for (const { name, value } of [...node.attributes]) {
        if (!/^(alt|class|data-rapport-\w+)$/.test(name) && !(/^(href|src)$/.test(name) && safe(value))) node.removeAttribute(name);
      }
    }
    return body.childNodes;
  };
  const fill = ({ element }, { data = {}, message = {}, ...other }) => {
    if (element.dataset.rapportHtml != null && message.html) element.replaceChildren(...clean(parse(message.html)));
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

  const edges = ({ element }) => {
    const { top, width, height } = element.getBoundingClientRect();
    return { top, width, height, below: (element.nextElementSibling || element.parentNode).getBoundingClientRect().bottom };
  };
  const hold = (slot, before) => {
    const { element } = slot, { style } = element, moved = (edge) => before[edge] - edges(slot)[edge];
    if (!before.height || element.dataset.rapportGrow != null) return;
    style.cssText += `;box-sizing:border-box;height:${before.height}px`;
    if (moved('width')) style.width = before.width + 'px';
    if (element.scrollHeight > element.clientHeight) style.overflow = 'auto';
    const { marginTop, marginBottom } = getComputedStyle(element);
    style.marginTop = `calc(${marginTop} + ${moved('top')}px)`;
    style.marginBottom = `calc(${marginBottom} + ${moved('below')}px)`;
  };

  const tell = (slot, what, detail) => {
    slot.element.style.visibility = '';
    slot.element.dispatchEvent(new CustomEvent('rapport:' + what, { bubbles: true, detail: { placement: slot.name, ...detail } }));
  };
  const put = (slot, shown) => {
    const { element, own } = slot, before = shown && edges(slot);
    if (slot.changed) {
      element.style.cssText = own.style.cssText;
      element.replaceChildren(...own.cloneNode(true).childNodes);
    }
    if (shown) {
      slot.changed = true;
      // new boxes shift nothing
      element.replaceChildren(...element.childNodes);
      fill(slot, shown);
      hold(slot, before);
      slot.visitorId = visitorId;
    }
    watch(slot, shown?.presentationToken);
    return shown;
  };
  const ask = async () => {
    const mine = ++round, open = new Set();
    slots.forEach((slot, element) => element.isConnected || (put(slot), slots.delete(element)));
    for (const element of document.querySelectorAll('[data-rapport-placement]')) {
      const { rapportPlacement: name, rapportToken: token } = element.dataset;
      const slot = slots.get(element) || { element, name, own: element.cloneNode(true) };
      if (!slots.has(element)) {
        slots.set(element, slot);
        element.addEventListener('click', onClick, true);
        watch(slot, token);
        if (!token) element.style.visibility = 'hidden';
      }
      if (!token) open.add(slot);
    }
    const asking = (placement) => [...open].filter(({ name }) => name === placement);
    const stay = (reason) => open.forEach((slot) => {
      if (reason === 'timeout' && !slot.element.style.visibility) return;
      open.delete(slot);
      tell(slot, 'kept', { reason });
    });
    const limit = new Promise((done) => setTimeout(() => done(stay('timeout')), HIDDEN_MS));
    const answered = (async () => {
      try {
        flush();
        await sending;
        if (mine < 2) await Promise.race([limit, (async () => setConsent((await config('consent')) ?? options.consent))()]);
        const names = [...new Set([...open].map(({ name }) => name))].slice(0, 32);
        if (!names.length) return;
        const response = await post('decide', JSON.stringify({
          placements: names.map((placement) => ({ placement, count: asking(placement).length })),
          visitorId,
          languages: config('languages') || [document.documentElement.lang || navigator.language],
          context: config('context') || JSON.parse(options.context || '{}'),
          pageConsent: consent,
          ...config('request'),
        }));
        const answer = await response.json();
        if (mine < round) return stay('timeout');
        visitorId = answer.visitorId || visitorId;
        if (granted()) keep(visitorId);
        for (const { placement, presentations } of answer.placements) {
          asking(placement).forEach((slot, at) => {
            open.delete(slot);
            const shown = attempt(() => put(slot, presentations[at])) || put(slot);
            tell(slot, shown ? 'filled' : 'kept', { decisionId: answer.decisionId, ...(shown || { reason: 'empty' }) });
          });
        }
        stay('empty');
      } catch (error) {
        console.debug('rapport:', error);
        stay('error');
      }
    })();
    await (mine > 1 ? answered : Promise.race([answered, limit]));
  };

  addEventListener('pagehide', flush);
  document.addEventListener('visibilitychange', () => {
    flush();
    slots.forEach((slot) => watch(slot, slot.token));
  });
  addEventListener('resize', () => {
    if (width !== innerWidth) slots.forEach(({ element: { style } }) => (style.width = style.height = ''));
    width = innerWidth;
  });
  const ready = (async () => {
    if (document.readyState === 'loading') await new Promise((done) => document.addEventListener('DOMContentLoaded', done));
    await ask();
  })();
  window.rapport = {
    ready,
    refresh: () => ready.then(ask),
    event: (type, more) => ready.then(() => attempt(() => {
      if (granted()) add(queue, visitorId, JSON.parse(JSON.stringify({ eventId: '' + Math.random(), customer: { type, ...more } })));
      setTimeout(flush, SEND_MS);
    })),
    consent: setConsent,
    forget: () => attempt(() => {
      flush();
      forget(true);
    }),
    conversion: (placement, value) => !!attempt(() => {
      const slot = [...slots.values()].find(({ name, token }) => name === placement && token) || clicked()[placement];
      report(slot, 'CONVERSION', value?.currency && { value: { amount: `${value.amount}`, currency: `${value.currency}` } });
      return slot.token;
    }),
  };
})();
