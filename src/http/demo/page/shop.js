// A little shop. What is Rapport's in it: the consent and the basket that the
// questions carry, and the elements with `data-rapport-...` in the page.
'use strict';
(() => {
  const by = (id) => document.getElementById(id);
  const money = new Intl.NumberFormat('en-GB', { style: 'currency', currency: 'GBP' });
  let consent;
  let pence = 0;
  let pieces = 0;
  let fading;

  window.rapportConfig = {
    consent: () => consent && { profiling: consent, marketing: consent },
    context: () => (pence ? { basket_value: pence / 100 } : {}),
  };

  const refresh = () => window.rapport?.refresh();

  const toast = (text) => {
    const box = by('toast');
    box.textContent = text;
    box.dataset.on = '';
    clearTimeout(fading);
    fading = setTimeout(() => delete box.dataset.on, 3500);
  };

  const decideConsent = (given) => {
    consent = given;
    by('ask').hidden = true;
    window.rapport?.consent({ profiling: given, marketing: given });
  };

  for (const button of document.querySelectorAll('[data-consent]')) {
    button.addEventListener('click', () => decideConsent(button.dataset.consent));
  }
  for (const button of document.querySelectorAll('[data-price]')) {
    button.addEventListener('click', () => {
      pence += Math.round(Number(button.dataset.price) * 100);
      pieces += 1;
      by('basket-count').textContent = pieces;
      by('basket-what').textContent = pieces === 1 ? '1 present' : `${pieces} presents`;
      by('basket-sum').textContent = money.format(pence / 100);
      refresh();
    });
  }

  // What fills a place can be put away; the shop's own content stays.
  const mark = (event) => {
    const { decisionId, offer } = event.detail;
    event.target.toggleAttribute('data-filled', Boolean(offer));
    if (decisionId) document.documentElement.dataset.decision = decisionId;
  };
  document.addEventListener('rapport:filled', mark);
  document.addEventListener('rapport:kept', mark);

  document.addEventListener('click', (event) => {
    if (event.target.closest('[data-rapport-dismiss]')) return refresh();
    const link = event.target.closest('a[href]');
    if (!link || link.getAttribute('href').startsWith('#')) return undefined;
    // the pages behind the links are not built here
    event.preventDefault();
    return toast(`“${link.textContent}” would open its page now.`);
  });

  // Who is signed in; told by the page around when this one is shown in it.
  document.addEventListener('shop:account', (event) => {
    const name = event.detail.name;
    by('account').textContent = name ? `Hello, ${name}` : 'Sign in';
    by('account').toggleAttribute('data-in', Boolean(name));
    if (name) decideConsent('granted');
  });
})();
